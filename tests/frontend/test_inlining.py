"""Local functions and decided branches become plain nodes; other subgraphs stay whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from onnx import AttributeProto, FunctionProto, GraphProto, ModelProto, TensorProto, helper

from lowbitc.compiler.diagnostics import Source
from lowbitc.compiler.frontend import import_model
from lowbitc.compiler.ir import ops
from tests.frontend.models import assert_same_numbers, host, info, model, node, refusal

if TYPE_CHECKING:
    from onnx import NodeProto

_BOOL = TensorProto.BOOL


def _function(nodes: list[NodeProto], name: str = "Twice", opset: int = 17) -> FunctionProto:
    return helper.make_function(
        "local", name, ["a"], ["b"], nodes, [helper.make_opsetid("", opset)], attributes=["alpha"]
    )


_TWICE = _function([node("Add", "a a", "t", name="sum"), node("Relu", "t", "b", name="")])


def _calls(*functions: FunctionProto, opset: int = 17) -> ModelProto:
    nodes = [
        node("Twice", "x", "t", name="first", domain="local"),
        node("Twice", "t", "y", name="", domain="local"),
    ]
    return model(nodes, opset=opset, functions=list(functions))


def test_functions_are_inlined_under_the_name_of_their_call() -> None:
    imported = assert_same_numbers(_calls(_TWICE))
    names = [(n.op, n.name) for n in imported.graph.nodes]
    assert names == [
        ("Add", "first/sum"),
        ("Relu", "first/Relu_1"),
        ("Add", "Twice_1/sum"),
        ("Relu", "Twice_1/Relu_1"),
    ]
    assert imported.graph.nodes[0].outputs == ("first/t",)
    assert imported.graph.nodes[1].outputs == ("t",)
    assert imported.graph.nodes[0].sources == (Source("first/sum", "Add"),)


def test_functions_may_call_functions() -> None:
    inner = _function([node("Tanh", "a", "b", name="tanh")], "Inner")
    outer = helper.make_function(
        "local",
        "Twice",
        ["a"],
        ["b"],
        [
            node("Inner", "a", "t", name="in", domain="local"),
            node("Inner", "t", "b", domain="local"),
        ],
        [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)],
    )
    imported = assert_same_numbers(_calls(outer, inner))
    assert imported.graph.nodes[0].name == "first/in/tanh"


def _leaky(value: float | None) -> ModelProto:
    leaky = node("LeakyRelu", "a", "b", name="leaky")
    leaky.attribute.append(
        AttributeProto(name="alpha", ref_attr_name="alpha", type=AttributeProto.FLOAT)
    )
    given: dict[str, Any] = {} if value is None else {"alpha": value}
    call = node("Twice", "x", domain="local", **given)
    return model([call], functions=[_function([leaky])])


@pytest.mark.parametrize(("given", "alpha"), [(0.5, 0.5), (None, 0.01)])
def test_attributes_of_the_call_reach_the_nodes_inside(given: float | None, alpha: float) -> None:
    (found,) = assert_same_numbers(_leaky(given)).graph.nodes
    assert isinstance(found, ops.LeakyRelu)
    assert found.alpha == pytest.approx(alpha)


def test_a_function_of_another_opset_is_inlined_where_its_operators_mean_the_same() -> None:
    graph = import_model(_calls(_function(list(_TWICE.node), opset=14), opset=17)).graph
    assert [n.op for n in graph.nodes] == ["Add", "Relu", "Add", "Relu"]


def test_a_function_whose_operators_changed_since_is_refused() -> None:
    old = _function([node("Softmax", "a", "b", name="soft")], opset=11)
    found = refusal(_calls(old))["LB125"]
    assert "Softmax in Twice is of opset 11" in found.message
    assert found.sources == (Source("Twice_1", "Twice"),)


def test_a_function_that_calls_itself_is_refused() -> None:
    body = [node("Twice", "a", "b", name="again", domain="local")]
    own = helper.make_function(
        "local", "Twice", ["a"], ["b"], body, [helper.make_opsetid("local", 1)]
    )
    assert "calls itself" in refusal(_calls(own))["LB125"].message


def test_an_input_that_a_function_passes_on_is_copied() -> None:
    same = helper.make_function("local", "Twice", ["a"], ["a"], [], [helper.make_opsetid("", 17)])
    graph = import_model(_calls(same)).graph
    assert [n.op for n in graph.nodes] == ["Identity", "Identity"]


def _branch(*nodes: NodeProto, makes: str) -> GraphProto:
    output = helper.make_tensor_value_info(makes, TensorProto.FLOAT, None)
    return helper.make_graph(list(nodes), "branch", [], [output])


def _if(**constants: object) -> ModelProto:
    chosen = node(
        "If",
        "c",
        name="choose",
        then_branch=_branch(node("Relu", "x", "t", name="up"), makes="t"),
        else_branch=_branch(
            node("Neg", "x", "e0", name="turn"), node("Tanh", "e0", "e", name="act"), makes="e"
        ),
    )
    inputs = [info("x", 1, 4)]
    if not constants:
        inputs.append(info("c", kind=_BOOL))
    return model([chosen], inputs=inputs, constants=constants)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("condition", "wanted"), [(1, ["up", "choose"]), (0, ["turn", "act", "choose"])]
)
def test_an_if_with_a_known_condition_becomes_its_branch(
    condition: int,
    wanted: list[str],
) -> None:
    imported = assert_same_numbers(_if(c=np.asarray(condition, np.bool_)))
    assert [n.name for n in imported.graph.nodes] == wanted
    assert imported.graph.nodes[-1].op == "Identity"


def test_a_condition_on_a_shape_is_known() -> None:
    nodes = [
        node("Shape", "x", "s", name="s"),
        node("Gather", "s one", "width", name="g"),
        node("Equal", "width one0", "c", name="eq"),
    ]
    proto = _if()
    proto.graph.input.pop()
    for place, one in enumerate(nodes):
        proto.graph.node.insert(place, one)
    from_one = helper.make_tensor("one", TensorProto.INT64, [], [1])
    four = helper.make_tensor("one0", TensorProto.INT64, [], [4])
    proto.graph.initializer.extend([from_one, four])
    assert [n.name for n in import_model(proto).graph.nodes] == ["up", "choose"]


def test_branch_names_that_are_taken_are_told_apart() -> None:
    proto = _if(c=np.asarray(1, np.bool_))
    proto.graph.node[0].output[0] = "a"
    proto.graph.node.append(node("Sigmoid", "a", "y", name="up"))
    proto.graph.node.insert(0, node("Tanh", "x", "t", name="act"))
    proto.graph.output.append(helper.make_empty_tensor_value_info("t"))
    graph = import_model(proto).graph
    assert len({n.name for n in graph.nodes}) == len(graph.nodes) == 4
    assert len({v for n in graph.nodes for v in n.outputs}) == 4


def test_an_open_if_stays_whole_and_captures_what_its_branches_read() -> None:
    kept, reason = host(_if())
    assert kept.inputs == ("c",)
    assert kept.captures == ("x",)
    assert reason == "If has no integer form here"
    assert_same_numbers(_if())


def test_captures_leave_out_what_a_subgraph_defines_at_any_depth() -> None:
    inner = _branch(node("Add", "own w", "i", name="i"), makes="i")
    other = _branch(node("Add", "x own", "j", name="j"), makes="j")
    body = _branch(
        node("Relu", "x", "own", name="r"),
        node("If", "d", "t", name="inner", then_branch=inner, else_branch=other),
        makes="t",
    )
    proto = model(
        [node("If", "c", then_branch=body, else_branch=_branch(node("Tanh", "x", "e"), makes="e"))],
        inputs=[info("x", 1, 4), info("c", kind=_BOOL), info("d", kind=_BOOL)],
        constants={"w": np.ones(4, np.float32), "unused": np.ones(4, np.float32)},
    )
    imported = assert_same_numbers(proto)
    (kept,) = imported.graph.nodes
    assert isinstance(kept, ops.HostOp)
    assert set(kept.captures) == {"x", "d", "w"}
    assert set(imported.graph.constants) == {"w"}


def test_a_value_that_only_a_subgraph_reads_is_sorted_before_it() -> None:
    proto = _if()
    for branch in proto.graph.node[0].attribute:
        branch.g.node[0].input[0] = "late"
    proto.graph.node.append(node("Relu", "x", "late", name="late"))
    graph = import_model(proto).graph
    assert [n.name for n in graph.nodes] == ["late", "choose"]


def test_recurrent_operators_stay_whole() -> None:
    random = np.random.default_rng(0)
    constants = {
        "w": random.normal(size=(1, 16, 3)).astype(np.float32),
        "r": random.normal(size=(1, 16, 4)).astype(np.float32),
    }
    proto = model(
        [node("LSTM", "x w r", "y h", name="lstm", hidden_size=4)],
        inputs=[info("x", 5, 1, 3)],
        constants=constants,
    )
    imported = assert_same_numbers(proto)
    assert imported.graph.host_reasons == {"lstm": "LSTM has no integer form here"}


def test_a_host_operator_is_kept_byte_for_byte() -> None:
    lrn = node("LRN", "x", name="lrn", size=3, alpha=0.25)
    kept, _ = host(model([lrn]))
    assert kept.proto == lrn.SerializeToString(deterministic=True)
