"""Inputs get static shapes, and computed shapes become constants."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper

from lowbitc.compiler.diagnostics import CompileError
from lowbitc.compiler.frontend import import_model
from lowbitc.compiler.ir import ops
from lowbitc.compiler.ir.types import OpaqueType
from tests.frontend.models import (
    assert_same_numbers,
    info,
    model,
    node,
    noticed,
    read,
    refusal,
)

_I64 = np.int64


@pytest.mark.parametrize("batch", ["N", None, 0])
def test_a_free_batch_is_compiled_as_1_with_a_note(batch: str | int | None) -> None:
    imported = import_model(model([node("Relu", "x")], inputs=[info("x", batch, 3)]))
    assert imported.graph.shape("x") == (1, 3)
    assert imported.graph.shape("y") == (1, 3)
    found = noticed(imported)["LB117"]
    assert ("'N'" if batch == "N" else "nameless") in found.message
    assert "--shape x=" in found.hint


def test_a_batch_that_is_fixed_stays() -> None:
    imported = import_model(model([node("Relu", "x")], inputs=[info("x", 4, 3)]))
    assert imported.graph.shape("y") == (4, 3)
    assert not imported.diagnostics


def test_the_batch_symbol_is_1_at_every_place() -> None:
    inputs = [info("x", "N", 3), info("h", 2, "N", 3)]
    graph = import_model(model([node("Add", "x h")], inputs=inputs)).graph
    assert graph.shape("h") == (2, 1, 3)


def test_every_free_dimension_is_an_error_with_the_option_to_write() -> None:
    inputs = [info("x", "N", 3, "height", None)]
    with pytest.raises(CompileError) as caught:
        import_model(model([node("Relu", "x")], inputs=inputs))
    height, width = (d for d in caught.value.diagnostics if d.code == "LB115")
    assert "2 (height) of input x" in height.message
    assert "3 (nameless) of input x" in width.message
    assert "--shape x=N,3,<height>,<dim3>" in height.hint


def test_an_input_without_rank_asks_for_a_whole_shape() -> None:
    untyped = helper.make_tensor_value_info("x", TensorProto.FLOAT, None)
    proto = model([node("Relu", "x")], inputs=[untyped])
    assert "--shape x=" in refusal(proto)["LB115"].hint
    assert import_model(proto, shapes={"x": (None, 3)}).graph.shape("x") == (1, 3)


def test_shapes_bind_dimensions_and_their_symbols() -> None:
    inputs = [info("x", "N", 1, "width"), info("z", "N", 1, "width")]
    proto = model([node("Add", "x z")], inputs=inputs)
    graph = import_model(proto, shapes={"x": (None, 1, 8)}).graph
    assert graph.shape("z") == graph.shape("y") == (1, 1, 8)


def test_shapes_can_fix_the_batch() -> None:
    imported = import_model(
        model([node("Relu", "x")], inputs=[info("x", "N", 3)]), shapes={"x": (5, 3)}
    )
    assert imported.graph.shape("y") == (5, 3)
    assert not imported.diagnostics


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        ({"z": (1, 3)}, "no such input"),
        ({"x": (None, 4)}, "dimension 1 is 3"),
        ({"x": (None, 3, 1)}, "2 dimensions, not 3"),
        ({"x": (-2, 3)}, "-2 is no size"),
        ({"x": (2, 3), "w": (4, 3)}, "dimension 0 (N) is 2 in another place"),
    ],
)
def test_shapes_that_do_not_fit_say_why(shapes: dict[str, tuple[int, ...]], words: str) -> None:
    proto = model([node("Add", "x w")], inputs=[info("x", "N", 3), info("w", "N", 3)])
    assert words in refusal(proto, shapes=shapes)["LB116"].message


def test_inputs_that_are_no_tensors_stay_opaque() -> None:
    held = helper.make_tensor_sequence_value_info("s", TensorProto.FLOAT, [1, 3])
    proto = model(
        [node("SequenceAt", "s i")], inputs=[held], constants={"i": np.asarray(0)}, opset=17
    )
    graph = import_model(proto).graph
    assert isinstance(graph.types["s"], OpaqueType)
    assert graph.shape("y") == (1, 3)


def test_a_shape_chain_as_pytorch_writes_it_becomes_one_reshape() -> None:
    nodes = [
        node("Shape", "x", "shape", name="s"),
        node("Gather", "shape i0", "batch", name="g", axis=0),
        node("Unsqueeze", "batch axes", "batch1", name="u"),
        node("Concat", "batch1 rest", "wanted", name="c", axis=0),
        node("Reshape", "x wanted", name="r"),
    ]
    held = {"i0": np.asarray(0), "axes": np.asarray([0]), "rest": np.asarray([-1], _I64)}
    proto = model(nodes, inputs=[info("x", "N", 4, 6)], constants=held)
    (found,) = import_model(proto).graph.nodes
    assert isinstance(found, ops.Reshape)
    assert (found.name, found.inputs, found.shape) == ("r", ("x",), (0, 24))


def test_a_resize_to_a_computed_size_is_an_upsample() -> None:
    nodes = [
        node("Shape", "x", "shape", name="s"),
        node("Slice", "shape zero two", "nc", name="s1"),
        node("Slice", "shape two four", "hw", name="s2"),
        node("Mul", "hw twice", "big", name="m"),
        node("Concat", "nc big", "sizes", name="c", axis=0),
        node("Resize", "x - - sizes", name="r", mode="nearest"),
    ]
    held = {name: np.asarray([n], _I64) for name, n in (("zero", 0), ("two", 2), ("four", 4))}
    held["twice"] = np.asarray([2, 2], _I64)
    found = read(model(nodes, inputs=[info("x", "N", 3, 5, 5)], constants=held))
    assert isinstance(found, ops.Upsample)
    assert found.factors == (1, 1, 2, 2)


def test_an_old_exporter_s_pad_chain_becomes_one_pad() -> None:
    nodes = [
        node("ConstantOfShape", "four", "zeros", name="z", value=_tensor([0])),
        node("Concat", "given zeros", "all", name="c", axis=0),
        node("Reshape", "all pairs", "paired", name="r"),
        node("Slice", "paired last first axis back", "turned", name="s"),
        node("Transpose", "turned", "columns", name="t", perm=[1, 0]),
        node("Reshape", "columns flat", "pads", name="f"),
        node("Cast", "pads", "cast", name="k", to=TensorProto.INT64),
        node("Pad", "x cast", name="p", mode="constant"),
    ]
    held = {
        "four": [4],
        "given": [0, 1, 0, 1],
        "pairs": [-1, 2],
        "last": [-1],
        "first": [-(2**63)],
        "axis": [0],
        "back": [-1],
        "flat": [-1],
    }
    constants = {name: np.asarray(value, _I64) for name, value in held.items()}
    imported = assert_same_numbers(model(nodes, constants=constants))
    (found,) = imported.graph.nodes
    assert isinstance(found, ops.Pad)
    assert found.pads == (0, 0, 0, 0, 0, 0, 1, 1)


def test_a_shape_that_depends_on_data_stays_unknown_and_on_the_cpu() -> None:
    nodes = [node("NonZero", "x", "nz", name="nz"), node("Relu", "f", name="relu")]
    nodes.insert(1, node("Cast", "nz", "f", name="cast", to=TensorProto.FLOAT))
    graph = import_model(model(nodes)).graph
    assert graph.tensor("y").shape == (4, -1)
    assert graph.host_reasons["relu"] == "f has a shape that depends on the data"


def test_types_that_a_model_states_help_where_inference_cannot() -> None:
    proto = model([node("Strange", "x", "a", domain="my"), node("Relu", "a", name="relu")])
    proto.graph.value_info.append(info("a", 1, 7))
    graph = import_model(proto).graph
    assert graph.shape("y") == (1, 7)
    assert "relu" not in graph.host_reasons


def _tensor(values: list[int]) -> TensorProto:
    return helper.make_tensor("value", TensorProto.INT64, [len(values)], values)
