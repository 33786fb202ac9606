"""Constants in all their spellings are read, screened and folded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from onnx import SparseTensorProto, TensorProto, helper, numpy_helper

from lowbitc.compiler.frontend import import_model
from lowbitc.compiler.frontend.evaluators import EVALUATORS, evaluate_by_reference
from tests.frontend.models import (
    assert_same_numbers,
    host,
    info,
    model,
    node,
    noticed,
    refusal,
)

if TYPE_CHECKING:
    from lowbitc.compiler.elements import Array

_F32 = np.float32


def _constant(**held: Any) -> Array:  # noqa: ANN401 - attributes of any kind
    """Import a Constant node; return what it holds."""
    imported = import_model(model([node("Constant", "", "y", **held)]))
    assert not imported.graph.nodes
    found = imported.graph.constants["y"]
    assert imported.graph.shape("y") == found.shape
    return found


def _sparse(indices: list[Any], dims: list[int]) -> SparseTensorProto:
    values = numpy_helper.from_array(np.asarray([1, 2], _F32), "sparse")
    return helper.make_sparse_tensor(values, numpy_helper.from_array(np.asarray(indices)), dims)


@pytest.mark.parametrize(
    ("held", "wanted"),
    [
        ({"value": numpy_helper.from_array(np.eye(2, dtype=_F32))}, np.eye(2, dtype=_F32)),
        ({"value_float": 1.5}, np.asarray(1.5, _F32)),
        ({"value_floats": [1.5, 2.5]}, np.asarray([1.5, 2.5], _F32)),
        ({"value_int": 3}, np.asarray(3)),
        ({"value_ints": [3, 4]}, np.asarray([3, 4])),
        ({"value_string": "a"}, np.asarray("a", object)),
        ({"value_strings": ["a", "b"]}, np.asarray(["a", "b"], object)),
        ({"sparse_value": _sparse([0, 3], [2, 2])}, np.asarray([[1, 0], [0, 2]], _F32)),
        ({"sparse_value": _sparse([[0, 1], [1, 0]], [2, 2])}, np.asarray([[0, 1], [2, 0]], _F32)),
    ],
)
def test_a_constant_node_holds_its_value_in_any_attribute(
    held: dict[str, Any], wanted: Array
) -> None:
    found = _constant(**held)
    assert found.dtype == wanted.dtype
    np.testing.assert_array_equal(found, wanted)


def test_a_sparse_initializer_is_made_dense() -> None:
    proto = model([node("Add", "x sparse")], inputs=[info("x", 2, 2)])
    proto.graph.sparse_initializer.append(_sparse([0, 3], [2, 2]))
    np.testing.assert_array_equal(
        import_model(proto).graph.constants["sparse"], np.asarray([[1, 0], [0, 2]], _F32)
    )


@pytest.mark.parametrize("kind", ["BFLOAT16", "FLOAT16", "DOUBLE", "INT4", "FLOAT8E4M3FN"])
def test_constants_keep_their_element_type(kind: str) -> None:
    number = TensorProto.DataType.Value(kind)
    proto = model([node("Identity", "w")], opset=21)
    proto.graph.initializer.append(helper.make_tensor("w", number, [2], [1, 2]))
    graph = import_model(proto).graph
    assert graph.tensor("y").element.name in {kind.lower(), "float64", "float8_e4m3fn"}
    assert graph.constants["y"].tolist() == [1, 2]


def test_data_that_does_not_fit_the_shape_is_refused() -> None:
    proto = model([node("Add", "x w")])
    proto.graph.initializer.append(
        TensorProto(name="w", dims=[3], data_type=TensorProto.FLOAT, raw_data=bytes(8))
    )
    found = refusal(proto)["LB120"]
    assert (found.found, found.allowed) == ("8 bytes of raw data", "[3] float")


def test_an_unknown_element_type_is_refused() -> None:
    proto = model([node("Add", "x w")])
    proto.graph.initializer.append(TensorProto(name="w", dims=[1], data_type=99, raw_data=b"1"))
    assert "99" in refusal(proto)["LB120"].message


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_weights_that_are_not_finite_name_tensor_count_and_place(
    bad: float, dtype: type[np.floating[Any]]
) -> None:
    weight = np.ones((4, 4, 3, 3), dtype)
    weight[2, 1, 0, 2] = weight[3, 3, 2, 2] = bad
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    proto = model(
        [node("Conv", "x w", name="conv")],
        inputs=[info("x", 1, 4, 6, 6, kind=kind)],
        constants={"w": weight},
    )
    found = refusal(proto)["LB110"]
    assert "w holds NaN or infinity in 2 of 144 elements" in found.message
    assert "[2, 1, 0, 2]" in found.found
    assert found.sources[0].node == "conv"


def test_finite_weights_whose_sum_overflows_are_fine() -> None:
    weight = np.full((4, 4, 1, 1), np.finfo(_F32).max, _F32)
    assert import_model(model([node("Conv", "x w")], constants={"w": weight})).graph.nodes


def test_infinity_in_a_mask_is_meant() -> None:
    held = {"mask": np.asarray([0, -np.inf, 0, 0, 0, 0], _F32)}
    assert import_model(model([node("Add", "x mask")], constants=held)).graph.nodes


def test_weights_that_become_nan_when_folded_are_refused() -> None:
    nodes = [node("Sqrt", "v", "w", name="root"), node("Conv", "x w", name="conv")]
    held = {"v": np.full((4, 4, 1, 1), -1, _F32)}
    assert refusal(model(nodes, constants=held))["LB110"].sources[0].node == "conv"


@pytest.mark.parametrize(
    ("given", "args", "opset"),
    [
        (node("Add", "a b", "y"), [np.asarray([1, 2]), np.asarray([[3], [4]])], 17),
        (node("And", "a b", "y"), [np.asarray([True, False]), np.asarray(1, np.bool_)], 17),
        (node("Cast", "a", "y", to=TensorProto.INT64), [np.asarray([1.7, -1.7], _F32)], 17),
        (node("Cast", "a", "y", to=TensorProto.BOOL), [np.asarray([0, 2])], 17),
        (node("Ceil", "a", "y"), [np.asarray([1.2, -1.2], _F32)], 17),
        (node("Concat", "a b", "y", axis=-1), [np.ones((2, 1)), np.zeros((2, 3))], 17),
        (node("ConstantOfShape", "a", "y"), [np.asarray([2, 3])], 17),
        (
            node("ConstantOfShape", "a", "y", value=helper.make_tensor("v", 7, [1], [5])),
            [np.asarray([2])],
            17,
        ),
        (node("Div", "a b", "y"), [np.asarray([7, -7, 7, -7]), np.asarray([2, 2, -2, -2])], 17),
        (node("Div", "a b", "y"), [np.asarray([1, 2], _F32), np.asarray([3, 0.5], _F32)], 17),
        (node("Equal", "a b", "y"), [np.asarray([1, 2]), np.asarray([1, 3])], 17),
        (node("Expand", "a b", "y"), [np.asarray([[1], [2]]), np.asarray([2, 1, 3])], 17),
        (node("Floor", "a", "y"), [np.asarray([1.2, -1.2], _F32)], 17),
        (node("Gather", "a b", "y", axis=1), [np.arange(6).reshape(2, 3), np.asarray([2, -3])], 17),
        (node("Gather", "a b", "y"), [np.arange(3), np.asarray(-1)], 17),
        (node("Greater", "a b", "y"), [np.asarray([1, 2]), np.asarray([1, 1])], 17),
        (node("Identity", "a", "y"), [np.asarray([1, 2])], 17),
        (node("Less", "a b", "y"), [np.asarray([1, 2]), np.asarray([2, 2])], 17),
        (node("Mul", "a b", "y"), [np.asarray([1, 2]), np.asarray(3)], 17),
        (node("Neg", "a", "y"), [np.asarray([1, -2])], 17),
        (node("Not", "a", "y"), [np.asarray([True, False])], 17),
        (node("Or", "a b", "y"), [np.asarray([True, False]), np.asarray(0, np.bool_)], 17),
        (node("Range", "a b c", "y"), [np.asarray(1), np.asarray(8), np.asarray(3)], 17),
        (node("Range", "a b c", "y"), [np.asarray(v, _F32) for v in (5, 0, -1.5)], 17),
        (node("Reshape", "a b", "y"), [np.arange(6).reshape(2, 3), np.asarray([0, -1, 1])], 17),
        (
            node("Reshape", "a b", "y", allowzero=1),
            [np.zeros((0, 3), np.int64), np.asarray([3, 0])],
            17,
        ),
        (
            node("Slice", "a b c d e", "y"),
            [np.arange(9), *(np.asarray([v]) for v in (-1, -(2**63), 0, -2))],
            17,
        ),
        (
            node("Slice", "a b c", "y"),
            [np.arange(6).reshape(2, 3), np.asarray([0, -2]), np.asarray([1, 2**62])],
            17,
        ),
        (node("Sqrt", "a", "y"), [np.asarray([4, 2], _F32)], 17),
        (node("Squeeze", "a b", "y"), [np.ones((1, 2, 1)), np.asarray([-1])], 17),
        (node("Squeeze", "a", "y"), [np.ones((1, 2, 1))], 17),
        (node("Squeeze", "a", "y", axes=[0]), [np.ones((1, 2, 1))], 11),
        (node("Sub", "a b", "y"), [np.asarray([1, 2]), np.asarray(3)], 17),
        (node("Transpose", "a", "y"), [np.arange(6).reshape(1, 2, 3)], 17),
        (node("Transpose", "a", "y", perm=[1, 0]), [np.arange(6).reshape(2, 3)], 17),
        (node("Unsqueeze", "a b", "y"), [np.ones((2, 3)), np.asarray([0, -1])], 17),
        (
            node("Where", "a b c", "y"),
            [np.asarray([True, False]), np.asarray([1, 2]), np.asarray(9)],
            17,
        ),
        (
            node("DequantizeLinear", "a b c", "y", axis=0),
            [
                np.asarray([[3, 4], [5, 6]], np.int8),
                np.asarray([0.5, 2], _F32),
                np.asarray([1, -1], np.int8),
            ],
            19,
        ),
    ],
)
def test_own_evaluators_give_what_onnx_gives(given: Any, args: list[Array], opset: int) -> None:  # noqa: ANN401
    assert given.op_type in EVALUATORS
    names = list(given.input)
    wanted = evaluate_by_reference(given, dict(zip(names, args, strict=True)), opset)
    assert not isinstance(wanted, str)
    proto = model([given], constants=dict(zip(names, args, strict=True)), opset=opset)
    found = import_model(proto).graph
    assert not found.nodes
    assert found.constants["y"].dtype == wanted[0].dtype
    np.testing.assert_array_equal(found.constants["y"], wanted[0])


def test_every_own_evaluator_is_compared_with_onnx() -> None:
    mark = test_own_evaluators_give_what_onnx_gives.pytestmark[0]  # type: ignore[attr-defined]
    assert {case[0].op_type for case in mark.args[1]} == set(EVALUATORS)


def test_dequantized_weights_of_older_opsets_are_folded() -> None:
    held = {
        "q": np.asarray([4], np.uint8),
        "s": np.asarray(0.5, _F32),
        "z": np.asarray(2, np.uint8),
    }
    nodes = [node("DequantizeLinear", "q s z", "w", name="d"), node("Add", "x w", name="a")]
    graph = import_model(model(nodes, constants=held, opset=13)).graph
    assert [n.op for n in graph.nodes] == ["Add"]
    np.testing.assert_array_equal(graph.constants["w"], np.asarray([1], _F32))


def test_other_operators_are_folded_by_onnx_s_reference() -> None:
    nodes = [node("ReduceSum", "a", "s", name="sum", keepdims=0), node("Add", "x s", name="add")]
    graph = import_model(model(nodes, constants={"a": np.ones(3, _F32)})).graph
    assert [n.op for n in graph.nodes] == ["Add"]
    assert graph.constants["s"] == 3


def test_operators_with_several_outputs_are_folded() -> None:
    held = {"a": np.arange(4, dtype=_F32).reshape(1, 4)}
    nodes = [node("Split", "a", "b c", name="s", axis=1), node("Sub", "b c", name="d")]
    graph = import_model(model(nodes, constants=held, opset=13)).graph
    assert not graph.nodes
    np.testing.assert_array_equal(graph.constants["y"], [[-2, -2]])


def test_results_that_are_too_large_stay_computed() -> None:
    nodes = [node("Expand", "one shape", "big", name="grow"), node("ReduceMax", "big", name="max")]
    held = {"one": np.ones(1, _F32), "shape": np.asarray([5000, 5000])}
    imported = import_model(model(nodes, constants=held))
    found = noticed(imported)["LB124"]
    assert found.sources[0].node == "grow"
    assert "100,000,000 bytes" in found.message
    assert {n.name for n in imported.graph.nodes} == {"grow", "max"}


@pytest.mark.parametrize(
    "given",
    [
        node("RandomNormal", "", "r", name="dice", shape=[1, 1]),
        node("RandomUniformLike", "c", "r", name="dice"),
        node("Bernoulli", "c", "r", name="dice"),
    ],
)
def test_random_numbers_are_drawn_each_time(given: Any) -> None:  # noqa: ANN401
    proto = model([given, node("Add", "x r", name="a")], constants={"c": np.ones((1, 1), _F32)})
    imported = import_model(proto)
    assert noticed(imported)["LB123"].sources[0].node == "dice"
    assert [n.name for n in imported.graph.nodes] == ["dice", "a"]


def test_what_the_reference_refuses_stays_on_the_cpu_with_a_note() -> None:
    held = {"a": np.ones(3, _F32), "i": np.asarray([7])}
    nodes = [node("GatherND", "a i", "g", name="wild"), node("Add", "x g", name="add")]
    imported = import_model(model(nodes, constants=held))
    assert noticed(imported)["LB126"].sources[0].node == "wild"
    assert imported.graph.nodes[0].name == "wild"


def test_sequences_are_no_constants() -> None:
    nodes = [node("SequenceEmpty", "", "s", name="e"), node("SequenceLength", "s", name="len")]
    assert [n.name for n in import_model(model(nodes)).graph.nodes] == ["e", "len"]


def test_a_node_of_constants_of_another_domain_is_not_folded() -> None:
    kept, _ = host(model([node("Add", "a a", domain="my")], constants={"a": np.ones(1, _F32)}))
    assert kept.inputs == ("a", "a")


def test_folding_keeps_the_function() -> None:
    held = {"w": np.arange(36, dtype=_F32).reshape(3, 3, 4) / 36, "b": np.asarray([1, 2, 3], _F32)}
    nodes = [
        node("Transpose", "w", "turned", name="t", perm=[2, 1, 0]),
        node("Unsqueeze", "turned axes", "kernel", name="u"),
        node("Neg", "b", "minus", name="n"),
        node("Conv", "x kernel minus", name="c"),
    ]
    constants = {**held, "axes": np.asarray([3]), "b": np.ones(4, _F32)}
    proto = model(nodes, inputs=[info("x", 1, 3, 6, 6)], constants=constants)
    assert [n.op for n in assert_same_numbers(proto).graph.nodes] == ["Conv"]
