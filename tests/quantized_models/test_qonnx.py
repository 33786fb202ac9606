"""QONNX's quantizers are read with their bits, narrow ranges and scales."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

from lowbitc.compiler.diagnostics import CompileError
from lowbitc.compiler.elements import I2, I4, I8, ODD1, U4, LevelType
from lowbitc.compiler.frontend import import_model
from lowbitc.compiler.frontend.attributes import Attributes
from lowbitc.compiler.frontend.qonnx import evaluate
from lowbitc.compiler.ir import quantized
from tests.quantized_models.qdq import Net, compiled, on_host, run_onnx, run_program

X = np.random.default_rng(6).normal(0, 1, (20, 3, 8, 8)).astype(np.float32)
QONNX = "qonnx.custom_op.general"


def _number(net: Net, value: float) -> str:
    return net.const(np.asarray(value, np.float32))


def _quant(net: Net, x: str, scale: float, bits: float, domain: str = QONNX, **held: int) -> str:
    made = net.put(
        "Quant",
        *(x, _number(net, scale), _number(net, 0), _number(net, bits)),
        domain=domain,
        **{"signed": 1, "narrow": 0, "rounding_mode": "ROUND", **held},
    )
    net.scales[made] = np.asarray(scale, np.float32)
    return made


def _as_onnx(net: Net, output: str, bounds: tuple[int, int]) -> Net:
    """Spell the activations' Quant nodes with ONNX's own operators, for ONNX Runtime."""
    plain = Net()
    plain.held, plain.nodes = dict(net.held), []
    for n in net.nodes:
        if n.op_type != "Quant" or n.input[0] in net.held:
            plain.nodes.append(n)
            continue
        low, high = bounds if n.output[0] == output else (-128, 127)
        made = [
            helper.make_node("Div", n.input[:2], [f"{n.name}.d"]),
            helper.make_node("Round", [f"{n.name}.d"], [f"{n.name}.r"]),
            helper.make_node(
                "Clip",
                [f"{n.name}.r", _number(plain, low), _number(plain, high)],
                [f"{n.name}.c"],
            ),
            helper.make_node("Mul", [f"{n.name}.c", n.input[1]], n.output),
        ]
        plain.nodes += made
    return plain


def _network(bits: float, weight_bits: float, domain: str = QONNX) -> tuple[Net, str]:
    """Return a layer with quantized weights and a ReLU whose output has few bits."""
    net = Net(2)
    x = _quant(net, "x", 0.0203, 8, domain)
    raw = net.const(net.random.normal(0, 0.2, (6, 3, 3, 3)).astype(np.float32))
    weights = net.put(
        "Quant",
        raw,
        net.const(net.random.uniform(0.05, 0.1, (6, 1, 1, 1)).astype(np.float32)),
        *(_number(net, 0), _number(net, weight_bits)),
        domain=domain,
        signed=1,
        narrow=1,
        rounding_mode="ROUND",
    )
    relu = net.put("Relu", net.put("Conv", x, weights, kernel_shape=[3, 3]))
    return net, _quant(net, relu, 0.107, bits, domain, signed=0)


@pytest.mark.parametrize(
    ("bits", "weight_bits", "element"), [(3, 4, I4), (4, 2, I2), (5, 8, I8), (8, 3, I4)]
)
@pytest.mark.parametrize("domain", [QONNX, "onnx.brevitas"])
def test_few_bits_are_kept_in_the_next_wider_levels(
    bits: int, weight_bits: int, element: LevelType, domain: str
) -> None:
    net, output = _network(bits, weight_bits, domain)
    made = compiled(net.model(output))
    assert not on_host(made)
    (layer,) = [n for n in made.graph.nodes if isinstance(n, quantized.QConv)]
    assert made.graph.tensor(layer.inputs[1]).levels == element
    found = run_program(made, X)
    assert found.max() <= (2**bits - 1) * 0.1071
    folded = import_model(net.model(output)).graph
    plain = _as_onnx(net, output, (0, 2**bits - 1))
    weights = next(n for n in net.nodes if n.op_type == "Conv").input[1]
    plain.nodes = [n for n in plain.nodes if n.op_type != "Quant"]
    plain.held[weights] = folded.constants[weights]
    wanted = run_onnx(plain.model(output), X)
    assert np.mean(np.abs(wanted - found) > 0.05) < 2e-3
    np.testing.assert_allclose(found, wanted, atol=0.108)


def test_bipolar_weights_are_one_bit() -> None:
    net = Net()
    x = _quant(net, "x", 0.02, 8)
    raw = net.const(net.random.normal(0, 1, (4, 3, 3, 3)).astype(np.float32))
    weights = net.put("BipolarQuant", raw, _number(net, 0.25), domain=QONNX)
    made = compiled(net.model(net.put("Conv", x, weights, kernel_shape=[3, 3])))
    (layer,) = [n for n in made.graph.nodes if isinstance(n, quantized.QConv)]
    assert made.graph.tensor(layer.inputs[1]).levels == ODD1
    np.testing.assert_array_equal(
        made.graph.constants[layer.inputs[1]],
        np.where(np.asarray(net.held[raw], np.float32) >= 0, 1, -1),
    )


@pytest.mark.parametrize("mode", ["FLOOR", "CEIL"])
def test_what_the_cpu_could_not_run_either_is_refused(mode: str) -> None:
    net = Net()
    quant = _quant(net, "x", 0.02, 4)
    next(a for a in net.nodes[-1].attribute if a.name == "rounding_mode").s = mode.encode()
    bipolar = net.put("BipolarQuant", quant, _number(net, 0.25), domain=QONNX)
    with pytest.raises(CompileError) as refused:
        import_model(net.model(bipolar))
    assert [d.code for d in refused.value.diagnostics] == ["LB135", "LB135"]


@pytest.mark.parametrize(
    ("mode", "wanted"),
    [
        ("ROUND", [-2, -2, -1, 0, 0, 2, 2]),
        ("FLOOR", [-3, -2, -1, 0, 0, 1, 2]),
        ("CEIL", [-2, -1, -1, 0, 1, 2, 3]),
        ("ROUND_TO_ZERO", [-2, -1, -1, 0, 0, 1, 2]),
        ("UP", [-3, -2, -1, 0, 1, 2, 3]),
        ("HALF_UP", [-3, -2, -1, 0, 1, 2, 3]),
        ("HALF_DOWN", [-2, -1, -1, 0, 0, 1, 2]),
    ],
)
def test_weights_are_rounded_in_every_mode(mode: str, wanted: list[int]) -> None:
    x = np.asarray([-2.5, -1.5, -1, 0, 0.5, 1.5, 2.5], np.float32)
    made = helper.make_node("Quant", ["x", "s", "z", "b"], ["y"], signed=1, rounding_mode=mode)
    args = [x, *(np.asarray(v, np.float32) for v in (1, 0, 4))]
    found = evaluate("Quant", args, Attributes.of(made))
    assert found is not None
    assert found.tolist() == wanted


def test_activations_of_4_bits_have_4_bits_on_the_chip() -> None:
    net, output = _network(4, 4)
    made = compiled(net.model(output))
    (layer,) = [n for n in made.graph.nodes if isinstance(n, quantized.QConv)]
    assert made.graph.tensor(layer.outputs[0]).levels == U4
    assert layer.stage is quantized.Stage.THRESHOLDS
