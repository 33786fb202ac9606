"""Models that are quantized already are taken as they are: the same levels, no new scale."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lowbitc.compiler.elements import U4
from lowbitc.compiler.frontend import import_model
from lowbitc.compiler.ir import quantized
from lowbitc.compiler.ir.ops import FakeQuantize
from lowbitc.compiler.manager import PassManager
from lowbitc.passes.folding import FOLDING
from tests.quantized_models.qdq import (
    Net,
    compiled,
    on_host,
    residual_model,
    run_onnx,
    run_program,
)

X = np.random.default_rng(5).normal(0, 1, (40, 3, 8, 8)).astype(np.float32)


def _one_layer(**given: Any) -> Net:  # noqa: ANN401 - what quantized takes
    net = Net()
    x = net.quantized("x", 0.02)
    net.quantized(net.conv(x, 6, 3), **given)
    return net


@pytest.mark.parametrize(
    "given",
    [
        {"scale": 0.013},
        {"scale": 0.02, "dtype": "uint8", "zero": 128},
        {"scale": 0.3, "dtype": "int4"},
    ],
)
def test_levels_of_a_layer_are_those_of_the_model_but_at_ties(given: dict[str, Any]) -> None:
    """Float32 sums are inexact, so that both may round apart within 1e-4 levels of a tie."""
    net = _one_layer(**given)
    proto = net.model(net.nodes[-1].output[0])
    made = compiled(proto)
    assert not on_host(made)
    wanted, found = run_onnx(proto, X), run_program(made, X)
    apart = wanted != found
    sums = net.model(next(n.output[0] for n in net.nodes if n.op_type == "Conv"))
    steps = run_onnx(sums, X) / np.float32(given["scale"])
    to_tie = np.abs(np.abs(steps - np.floor(steps)) - 0.5)
    assert np.all(to_tie[apart] < 1e-4)
    assert apart.mean() < 1e-3
    np.testing.assert_allclose(found, wanted, atol=1.01 * given["scale"])


def test_given_scales_are_in_the_program_untouched() -> None:
    net = _one_layer(scale=0.013)
    made = compiled(net.model(net.nodes[-1].output[0]))
    graph = made.graph
    (layer,) = [n for n in graph.nodes if isinstance(n, quantized.QConv)]
    scales = {graph.tensor(v).scale[0] for v in (layer.inputs[0], layer.outputs[0])}
    assert scales == {float(np.float32(0.02)), float(np.float32(0.013))}


def test_given_weights_are_in_the_program_untouched() -> None:
    net = _one_layer(scale=0.013)
    made = compiled(net.model(net.nodes[-1].output[0]))
    (layer,) = [n for n in made.graph.nodes if isinstance(n, quantized.QConv)]
    levels = next(a for a in net.held.values() if a.dtype == np.int8 and a.ndim == 4)
    scales = next(a for a in net.held.values() if a.shape == (6,) and a.dtype == np.float32)
    np.testing.assert_array_equal(made.graph.constants[layer.inputs[1]], levels)
    held = np.asarray(made.graph.tensor(layer.inputs[1]).scale)
    np.testing.assert_array_equal(held.astype(np.float32), scales)


@pytest.mark.parametrize("low", ["int8", "uint8"])
def test_a_whole_network_runs_on_the_chip_and_gives_the_models_outputs(low: str) -> None:
    """Adds multiply by 15 bits and stages round half up: now and then a level is one off."""
    proto = residual_model(low)
    made = compiled(proto)
    assert not on_host(made)
    assert len(made.program.launches) == 1
    wanted, found = run_onnx(proto, X), run_program(made, X)
    level = 0.0103
    assert np.abs(wanted - found).max() < 2.5 * level
    assert np.mean(np.abs(wanted - found) > level / 2) < 0.05


def test_a_sum_saturates_where_the_model_says_so() -> None:
    """int8 behind a ReLU ends at 127, which is half of the chip's unsigned levels."""
    net = Net(4)
    x = net.quantized("x", 0.02)
    branches = [net.quantized(net.conv(x, 4, 3, kernel_shape=[1, 1]), s) for s in (0.017, 0.013)]
    joined = net.quantized(net.put("Relu", net.put("Add", *branches)), 0.0051)
    proto = net.model(net.quantized(net.conv(joined, 4, 4, kernel_shape=[1, 1]), 0.011))
    made = compiled(proto)
    assert not on_host(made)
    wanted, found = run_onnx(proto, X), run_program(made, X)
    assert np.mean(np.abs(wanted - found) > 0.006) < 0.02
    top = run_onnx(net.model(joined), X)
    assert np.mean(top == top.max()) > 0.05


def test_neither_data_nor_bits_are_needed_and_that_is_said() -> None:
    made = compiled(residual_model())
    assert "LB134" in {d.code for d in made.diagnostics}
    assert "LB310" not in {d.code for d in made.diagnostics}


def test_a_narrow_clip_between_the_two_is_part_of_the_quantizer() -> None:
    """Brevitas exports 3 bits as 8-bit levels behind a Clip."""
    net = Net()
    x = net.quantized("x", 0.02)
    relu = net.put("Relu", net.conv(x, 6, 3))
    scale, zero = net.const(np.asarray(0.1, np.float32)), net.const(np.asarray(0, np.uint8))
    levels = net.put("QuantizeLinear", relu, scale, zero)
    bounds = (net.const(np.asarray(0, np.uint8)), net.const(np.asarray(7, np.uint8)))
    proto = net.model(net.put("DequantizeLinear", net.put("Clip", levels, *bounds), scale, zero))
    made = compiled(proto)
    assert not on_host(made)
    wanted, found = run_onnx(proto, X), run_program(made, X)
    assert found.max() == pytest.approx(0.7)
    assert np.mean(wanted != found) < 1e-3
    (layer,) = [n for n in made.graph.nodes if isinstance(n, quantized.QConv)]
    assert made.graph.tensor(layer.outputs[0]).levels == U4


def test_batch_norm_behind_given_weights_changes_their_scale_alone() -> None:
    net = Net(1)
    conv = net.conv(net.quantized("x", 0.02), 6, 3)
    stats = [net.random.uniform(0.5, 1.5, 6), *net.random.normal(0, 0.2, (2, 6)), np.ones(6)]
    norm = net.put("BatchNormalization", conv, *(net.const(s.astype(np.float32)) for s in stats))
    proto = net.model(net.quantized(norm, 0.02))
    made = compiled(proto)
    assert not on_host(made)
    wanted, found = run_onnx(proto, X), run_program(made, X)
    assert np.mean(wanted != found) < 2e-3


def test_all_that_cannot_be_taken_is_said_at_once_and_runs_on_the_cpu_as_the_model_says() -> None:
    net = Net()
    x = net.quantized("x", 0.02)
    moved = net.quantized(net.conv(x, 6, 3), 0.02, 100, "uint8")
    wide = net.quantized(net.conv(moved, 6, 6), 0.0005, 0, "int16")
    weights = net.const(net.random.normal(0, 0.1, (6, 6, 3, 3)).astype(np.float32))
    loose = net.quantized(net.put("Conv", net.quantized(wide, 0.02), weights), 0.02)
    proto = net.model(net.conv(loose, 4, 6, kernel_shape=[1, 1]))
    made = compiled(proto)
    reasons = " ".join(on_host(made).values())
    for code in ("LB128", "LB129", "LB130", "LB131"):
        assert code in reasons
    wanted, found = run_onnx(proto, X), run_program(made, X)
    assert np.mean(np.abs(wanted - found) > 1e-3) < 0.02


def test_a_value_read_both_quantized_and_in_float_stays_on_the_cpu() -> None:
    net = Net()
    x = net.quantized("x", 0.02)
    pool = net.put("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2])
    conv = net.conv(net.quantized(pool, 0.02), 3, 3, pads=[1, 1, 1, 1])
    proto = net.model(net.put("Add", conv, net.put("Sin", pool)))
    made = compiled(proto)
    assert "LB132" in " ".join(on_host(made).values())
    np.testing.assert_allclose(run_program(made, X), run_onnx(proto, X), atol=1e-4)


def test_quantizers_of_one_value_become_one() -> None:
    net = Net()
    twice = [net.quantized("x", 0.02) for _ in range(2)]
    proto = net.model(net.put("Add", *(net.conv(v, 4, 3) for v in twice)))
    graph = PassManager(FOLDING).run(import_model(proto).graph).graph
    assert sum(isinstance(n, FakeQuantize) for n in graph.nodes) == 1


def test_a_quantizer_by_channel_is_left_to_the_cpu() -> None:
    net = Net()
    scale = net.const(np.asarray([0.02, 0.03, 0.01], np.float32))
    levels = net.put("QuantizeLinear", "x", scale, axis=1)
    proto = net.model(net.conv(net.put("DequantizeLinear", levels, scale, axis=1), 4, 3))
    imported = PassManager(FOLDING).run(import_model(proto).graph)
    assert [d.code for d in imported.diagnostics] == ["LB127"]
