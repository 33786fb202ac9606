"""Convolutions, host operators, weight levels, regions and files are written as they should be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from lowbitc.compiler.diagnostics import CompileError, InternalError, Source
from lowbitc.compiler.elements import F32, I4, U4, PlainType
from lowbitc.compiler.execute import FloatSession
from lowbitc.compiler.export import export_model, export_model_to_files, export_region
from lowbitc.compiler.ir import ops
from lowbitc.compiler.ir.graph import Graph
from lowbitc.compiler.ir.quantized import Quantize
from lowbitc.compiler.ir.types import OpaqueType, TensorType
from lowbitc.compiler.onnx_session import OnnxSession

if TYPE_CHECKING:
    from pathlib import Path

    from lowbitc.compiler.elements import Float32

_RANDOM = np.random.default_rng(3)
_WINDOW: dict[str, Any] = {"kernel": (3, 3), "stride": (2, 1), "pads": (1, 0, 1, 2)}
_SOURCE = (Source("/n", "Any"),)


def _normal(*shape: int) -> Float32:
    return _RANDOM.normal(size=shape).astype(np.float32)


def _host(
    op_type: str,
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
    captures: tuple[str, ...] = (),
    **attributes: int | str | onnx.GraphProto,
) -> ops.HostOp:
    proto = helper.make_node(op_type, ["old"] * len(inputs), list(outputs), doc_string="notes")
    for key, value in sorted(attributes.items()):
        proto.attribute.append(helper.make_attribute(key, value))
    return ops.HostOp(
        name=f"{op_type} {outputs[0]}",
        inputs=inputs,
        outputs=outputs,
        sources=_SOURCE,
        domain="",
        op_type=op_type,
        proto=proto.SerializeToString(),
        captures=captures,
    )


def _f32(*shape: int) -> TensorType:
    return TensorType(shape, F32)


def _relu(x: str, y: str) -> ops.Relu:
    return ops.Relu(name=f"relu {y}", inputs=(x,), outputs=(y,), sources=_SOURCE)


def test_convolutions_agree_with_those_that_onnx_helper_writes() -> None:
    x, w, b = _normal(1, 4, 7, 6), _normal(6, 2, 3, 3), _normal(6)
    conv = ops.Conv(
        name="c", inputs=("x", "w", "b"), outputs=("y",), sources=(), groups=2, **_WINDOW,
        dilation=(1, 2),
    )  # fmt: skip
    node = helper.make_node(
        "Conv", ["x", "w", "b"], ["y"],
        kernel_shape=(3, 3), strides=(2, 1), pads=(1, 0, 1, 2), dilations=(1, 2), group=2,
    )  # fmt: skip
    _agrees(conv, node, x, {"w": w, "b": b})


def test_transposed_convolutions_agree_with_those_that_onnx_helper_writes() -> None:
    x, w = _normal(1, 4, 5, 4), _normal(4, 3, 3, 3)
    conv = ops.ConvTranspose(
        name="c", inputs=("x", "w"), outputs=("y",), sources=(), groups=2, **_WINDOW,
        dilation=(1, 1), output_padding=(1, 0),
    )  # fmt: skip
    node = helper.make_node(
        "ConvTranspose", ["x", "w"], ["y"],
        kernel_shape=(3, 3), strides=(2, 1), pads=(1, 0, 1, 2), output_padding=(1, 0), group=2,
    )  # fmt: skip
    _agrees(conv, node, x, {"w": w})


def _agrees(
    conv: ops.Conv | ops.ConvTranspose, node: onnx.NodeProto, x: Float32, constants: dict[str, Any]
) -> None:
    types = {k: _f32(*v.shape) for k, v in {"x": x, **constants}.items()}
    graph = Graph(
        name="g",
        inputs=("x",),
        outputs=("y",),
        nodes=(conv,),
        types={**types, "y": TensorType(None, F32)},
        constants=constants,
        opset=13,
    )
    infos = [helper.make_tensor_value_info(n, 1, a.shape) for n, a in {"x": x, **constants}.items()]
    wanted = helper.make_model(
        helper.make_graph([node], "g", infos, [helper.make_tensor_value_info("y", 1, None)]),
        opset_imports=[helper.make_opsetid("", 13)],
        ir_version=8,
    )
    expected = OnnxSession(wanted.SerializeToString(), threads=1).run({"x": x, **constants})["y"]
    found = FloatSession(graph, threads=1).arrays({"x": x})["y"]
    np.testing.assert_array_equal(found, np.asarray(expected))


@pytest.mark.parametrize("transposed", [False, True])
def test_weight_levels_count_as_level_times_the_scale_of_the_output_channel(
    *, transposed: bool
) -> None:
    levels = _RANDOM.integers(-8, 8, (4, 3, 1, 1)).astype(np.int8)
    scale = (0.5, 0.25, 2.0, 1.0, 4.0, 8.0) if transposed else (0.5, 0.25, 2.0, 1.0)
    fields: dict[str, Any] = {
        "kernel": (1, 1), "stride": (1, 1), "dilation": (1, 1), "pads": (0, 0, 0, 0),
        "name": "c", "inputs": ("x", "w"), "outputs": ("y",), "sources": (),
    }  # fmt: skip
    if transposed:
        x = _normal(1, 4, 2, 2)
        node: ops.Conv | ops.ConvTranspose = ops.ConvTranspose(
            **fields, groups=2, output_padding=(0, 0)
        )
        expected = np.concatenate(
            [
                np.einsum("io,nihw->nohw", levels[rows, :, 0, 0], x[:, rows])
                for rows in (slice(0, 2), slice(2, 4))
            ],
            axis=1,
        )
    else:
        x = _normal(1, 3, 2, 2)
        node = ops.Conv(**fields)
        expected = np.einsum("oi,nihw->nohw", levels[:, :, 0, 0], x)
    expected = expected * np.reshape(np.asarray(scale), (-1, 1, 1))
    graph = Graph(
        name="g",
        inputs=("x",),
        outputs=("y",),
        nodes=(node,),
        types={
            "x": _f32(*x.shape),
            "w": TensorType(levels.shape, I4, scale),
            "y": _f32(*expected.shape),
        },
        constants={"w": levels},
    )
    session = FloatSession(graph, ("w",), threads=1)
    found = session.arrays({"x": x})
    np.testing.assert_allclose(
        np.asarray(found["y"], np.float32), expected.astype(np.float32), rtol=1e-5, atol=1e-5
    )
    assert found["w"].dtype == np.float32


def _branching() -> Graph:
    """Make x → relu → If(flag) → neg; the branches read a and k, as "first" and "second".

    Attributes are sorted, so the else branch, and with it k, comes first.
    """
    info = helper.make_tensor_value_info
    branch = [
        helper.make_graph(
            [helper.make_node("Add", [value, "inner"], ["out"])],
            "branch",
            [],
            [info("out", TensorProto.FLOAT, [1, 2])],
            [onnx.numpy_helper.from_array(np.ones((1, 2), np.float32), "inner")],
        )
        for value in ("first", "second")
    ]
    choice = _host(
        "If", ("flag",), ("c",),
        then_branch=branch[0], else_branch=branch[1], captures=("k", "a"),
    )  # fmt: skip
    return Graph(
        name="branching",
        inputs=("x", "flag"),
        outputs=("y",),
        nodes=(_relu("x", "a"), choice, _host("Neg", ("c",), ("y",))),
        types={
            "x": _f32(1, 2),
            "flag": TensorType((1,), PlainType("bool")),
            "k": _f32(1, 2),
            **{v: _f32(1, 2) for v in "acy"},
        },
        constants={"k": np.asarray([[5, 6]], np.float32)},
        opset=16,
    )


def test_captured_values_follow_the_graph_into_subgraphs() -> None:
    session = FloatSession(_branching(), threads=1)
    x = np.asarray([[1, -1]], np.float32)
    for flag, expected in ((True, [[-2, -1]]), (False, [[-6, -7]])):
        found = session.arrays({"x": x, "flag": np.asarray([flag])})["y"]
        np.testing.assert_array_equal(found, expected)


def test_a_region_takes_captured_values_as_inputs_and_constants_along() -> None:
    data = export_region(_branching(), ["If c", "Neg y"])
    model = onnx.load_from_string(data)
    onnx.checker.check_model(model)  # pyright: ignore[reportUnknownMemberType]
    assert [v.name for v in model.graph.input] == ["flag", "a"]
    assert [v.name for v in model.graph.initializer] == ["k"]
    assert [v.name for v in model.graph.output] == ["y"]
    assert [n.name for n in model.graph.node] == ["If c", "Neg y"]
    assert not any(node.doc_string for node in model.graph.node)
    assert data == export_region(_branching(), ["Neg y", "If c"])


def test_a_region_gives_out_what_is_read_elsewhere() -> None:
    nodes = (_relu("x", "a"), _relu("a", "b"), _relu("b", "c"), _relu("a", "d"))
    graph = Graph(
        name="g",
        inputs=("x",),
        outputs=("b", "d"),
        nodes=nodes,
        types={v: _f32(1, 2) for v in "xabcd"},
    )
    model = onnx.load_from_string(export_region(graph, ["relu a", "relu b"]))
    assert [v.name for v in model.graph.input] == ["x"]
    assert [v.name for v in model.graph.output] == ["a", "b"]


def test_sequences_cross_the_border_of_a_region() -> None:
    held = OpaqueType(
        helper.make_sequence_type_proto(
            helper.make_tensor_type_proto(TensorProto.FLOAT, [1, 2])
        ).SerializeToString()
    )
    nodes = (
        _host("SequenceConstruct", ("x",), ("s",)),
        _host("ConcatFromSequence", ("s",), ("y",), axis=0),
    )
    graph = Graph(
        name="g",
        inputs=("x",),
        outputs=("y",),
        nodes=nodes,
        types={"x": _f32(1, 2), "s": held, "y": _f32(1, 2)},
        opset=13,
    )
    x = np.asarray([[1, 2]], np.float32)
    first, second = (OnnxSession(export_region(graph, [node.name])) for node in nodes)
    sequence = first.run({"x": x})
    np.testing.assert_array_equal(np.asarray(second.run(sequence)["y"]), x)
    assert isinstance(FloatSession(graph, ("s",), threads=1).run({"x": x})["s"], list)


def test_samples_run_one_by_one_where_a_host_operator_might_mix_them() -> None:
    graph = Graph(
        name="g",
        inputs=("x",),
        outputs=("y",),
        nodes=(_host("CumSum", ("x", "axis"), ("y",)),),
        types={"x": _f32(1, 2), "axis": TensorType((), PlainType("int64")), "y": _f32(1, 2)},
        constants={"axis": np.asarray(0, np.int64)},
        opset=14,
    )
    x = np.asarray([[1, 2], [3, 4]], np.float32)
    np.testing.assert_array_equal(FloatSession(graph, threads=1).arrays({"x": x})["y"], x)
    model = export_model(graph)
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 1


def test_large_constants_go_to_a_file_beside_the_model(tmp_path: Path) -> None:
    weight = _normal(40, 30)
    dense = ops.Dense(name="d", inputs=("x", "w"), outputs=("y",), sources=())
    graph = Graph(
        name="g",
        inputs=("x",),
        outputs=("y",),
        nodes=(dense,),
        types={"x": _f32(1, 30), "w": _f32(40, 30), "y": _f32(1, 40)},
        constants={"w": weight},
    )
    model, data = export_model_to_files(graph, tmp_path / "net.onnx")
    assert data.stat().st_size == weight.nbytes
    x = _normal(1, 30)
    found = OnnxSession(model, threads=1).run({"x": x})["y"]
    np.testing.assert_array_equal(
        np.asarray(found), FloatSession(graph, threads=1).arrays({"x": x})["y"]
    )


def test_graphs_too_large_for_one_file_run_from_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lowbitc.compiler.execute._ONE_FILE_BYTES", 0)
    graph = _branching()
    found = FloatSession(graph, threads=1).arrays(
        {"x": np.ones((1, 2), np.float32), "flag": np.asarray([True])}
    )
    np.testing.assert_array_equal(found["y"], [[-2, -2]])


def test_values_that_nothing_computes_are_handed_out_too() -> None:
    graph = Graph(
        name="g",
        inputs=("x",),
        outputs=("x", "k"),
        nodes=(),
        types={"x": _f32(1, 2), "k": _f32(3)},
        constants={"k": np.arange(3, dtype=np.float32)},
    )
    x = np.ones((1, 2), np.float32)
    found = FloatSession(graph, threads=1).arrays({"x": x})
    np.testing.assert_array_equal(found["x"], x)
    np.testing.assert_array_equal(found["k"], [0, 1, 2])


def test_a_host_operator_whose_meaning_changed_is_refused_by_name() -> None:
    tile = _host("Dropout", ("x",), ("y",), is_test=1)
    graph = Graph(
        name="g",
        inputs=("x",),
        outputs=("y",),
        nodes=(tile,),
        types={"x": _f32(1, 2), "y": _f32(1, 2)},
        opset=6,
    )
    with pytest.raises(
        CompileError, match="LB190: Dropout of opset 6 has another meaning"
    ) as caught:
        export_model(graph)
    assert caught.value.diagnostics[0].sources == _SOURCE


def test_data_that_do_not_fit_the_inputs_are_refused_with_all_reasons() -> None:
    types = {"a": _f32(1, 2), "b": _f32(2, 2), "c": _f32(1, 2), "y": _f32(1, 2)}
    graph = Graph(
        name="g", inputs=("a", "b", "c"), outputs=("y",), nodes=(_relu("a", "y"),), types=types
    )
    session = FloatSession(graph, threads=1)
    with pytest.raises(CompileError) as caught:
        session.run({"a": np.ones((1, 3), np.float32), "b": np.ones((2, 2), np.float64)})
    assert [d.code for d in caught.value.diagnostics] == ["LB193"] * 3
    two = {"a": np.ones((2, 2), np.float32), "c": np.ones((2, 2), np.float32)}
    with pytest.raises(CompileError, match="different numbers of samples"):
        session.run({**two, "b": np.ones((2, 2), np.float32)})
    both = session.run({**two, "b": np.ones((4, 2), np.float32)})
    assert np.asarray(both["y"]).shape == (2, 2)


def test_failures_of_onnx_runtime_are_coded() -> None:
    graph = Graph(
        name="g",
        inputs=("x",),
        outputs=("y",),
        nodes=(_host("NoSuchOperator", ("x",), ("y",)),),
        types={"x": _f32(1, 2), "y": _f32(1, 2)},
    )
    with pytest.raises(CompileError, match=r"LB191: .*NoSuchOperator"):
        FloatSession(graph, threads=1)
    gather = graph.replace(
        nodes=(_host("Gather", ("x", "at"), ("y",)),),
        types={**graph.types, "at": TensorType((1,), PlainType("int64"))},
        constants={"at": np.asarray([7], np.int64)},
    )
    with pytest.raises(CompileError, match="LB192: "):
        FloatSession(gather, threads=1).run({"x": np.ones((1, 2), np.float32)})


def test_integer_operators_do_not_run_as_floats() -> None:
    node = Quantize(name="q", inputs=("x",), outputs=("y",), sources=())
    types = {"x": _f32(1, 2), "y": TensorType((1, 2), U4, (0.5,))}
    graph = Graph(name="g", inputs=("x",), outputs=("y",), nodes=(node,), types=types)
    with pytest.raises(InternalError, match="Quantize q computes with integers"):
        FloatSession(graph)
    with pytest.raises(InternalError):
        export_model(graph)
