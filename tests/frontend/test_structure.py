"""Names, definitions and the order of nodes."""

from __future__ import annotations

import numpy as np
import pytest

from lowbitc.compiler.diagnostics import Source
from lowbitc.compiler.frontend import import_model
from tests.frontend.models import info, model, node, noticed, refusal

_W = np.ones((4, 4, 1, 1), np.float32)


def test_users_names_are_kept() -> None:
    proto = model([node("Relu", "x", "/a/out", name="/a/Relu"), node("Tanh", "/a/out", name="/b")])
    graph = import_model(proto).graph
    assert [n.name for n in graph.nodes] == ["/a/Relu", "/b"]
    assert graph.nodes[0].outputs == ("/a/out",)
    assert graph.nodes[0].sources == (Source("/a/Relu", "Relu"),)


def test_nodes_without_a_name_are_called_by_operator_and_position() -> None:
    proto = model([node("Relu", "x", "a", name=""), node("Tanh", "a", name="")])
    graph = import_model(proto).graph
    assert [n.name for n in graph.nodes] == ["Relu_0", "Tanh_1"]
    assert graph.nodes[1].sources == (Source("Tanh_1", "Tanh"),)


def test_repeated_names_count_up_past_names_that_are_taken() -> None:
    chain = [("x", "a", "act"), ("a", "b", "act"), ("b", "c", "act.1"), ("c", "y", "")]
    proto = model([node("Relu", i, o, name=n) for i, o, n in chain])
    names = [n.name for n in import_model(proto).graph.nodes]
    assert names == ["act", "act.2", "act.1", "Relu_3"]


def test_importing_does_not_change_the_users_model() -> None:
    proto = model([node("LRN", "x", "a", name="", size=3), node("LRN", "a", name="", size=3)])
    before = proto.SerializeToString()
    import_model(proto)
    assert proto.SerializeToString() == before


def test_nodes_out_of_order_are_sorted_with_a_note() -> None:
    late = [node("Tanh", "b", name="third"), node("Relu", "x", "a", name="first")]
    proto = model([*late, node("Sigmoid", "a", "b", name="second")])
    imported = import_model(proto)
    assert [n.name for n in imported.graph.nodes] == ["first", "second", "third"]
    assert {s.node for s in noticed(imported)["LB106"].sources} >= {"third"}


def test_sorting_moves_no_node_that_can_stay() -> None:
    nodes = [node("Relu", "x", f"a{i}", name=f"r{i}") for i in range(4)]
    nodes += [node("Add", "s a3", name="last"), node("Add", "a0 a1", "s", name="sum")]
    imported = import_model(model(nodes))
    assert [n.name for n in imported.graph.nodes] == ["r0", "r1", "r3", "sum", "last"]


def test_a_cycle_names_its_nodes_and_no_others() -> None:
    nodes = [
        node("Add", "x c", "a", name="one"),
        node("Relu", "a", "b", name="two"),
        node("Tanh", "b", "c", name="three"),
        node("Sigmoid", "c", name="behind"),
    ]
    found = refusal(model(nodes))["LB107"]
    assert {s.node for s in found.sources} == {"one", "two", "three"}
    assert "one → two → three → one" in found.message


def test_a_node_that_reads_its_own_output_is_a_cycle() -> None:
    found = refusal(model([node("Add", "x y", name="loop")]))["LB107"]
    assert "loop → loop" in found.message


def test_a_missing_initializer_names_value_and_reader() -> None:
    found = refusal(model([node("Conv", "x w", name="conv0")]))["LB108"]
    assert "w is read by conv0" in found.message
    assert found.sources == (Source("conv0", "Conv"),)
    assert "export_params" in found.hint


def test_an_output_that_nothing_makes_is_an_error() -> None:
    assert "z" in refusal(model([node("Relu", "x")], outputs=["z"]))["LB108"].message


@pytest.mark.parametrize(
    ("nodes", "constants", "words"),
    [
        ([node("Relu", "x", name="a"), node("Tanh", "x", name="b")], {}, "a (Relu), b (Tanh)"),
        ([node("Conv", "x w", "w")], {"w": _W}, "an initializer, n (Conv)"),
        ([node("Relu", "x", "x")], {}, "an input, n (Relu)"),
    ],
)
def test_a_value_that_is_defined_twice_names_both(
    nodes: list[object], constants: dict[str, object], words: str
) -> None:
    proto = model(nodes, outputs=["x"], constants=constants)  # type: ignore[arg-type]
    assert refusal(proto)["LB109"].found == words


def test_a_model_without_outputs_is_refused() -> None:
    assert set(refusal(model([node("Relu", "x")], outputs=[]))) == {"LB119"}


def test_initializers_that_are_inputs_too_are_constants() -> None:
    proto = model(
        [node("Conv", "x w")],
        inputs=[info("x", 1, 4, 6, 6), info("w", 4, 4, 1, 1)],
        constants={"w": _W},
        ir_version=3,
    )
    graph = import_model(proto).graph
    assert graph.inputs == ("x",)
    assert set(graph.constants) == {"w"}


def test_nodes_and_constants_that_no_output_needs_are_dropped() -> None:
    proto = model([node("Relu", "x"), node("Conv", "x w", "z")], constants={"w": _W})
    graph = import_model(proto).graph
    assert [n.op for n in graph.nodes] == ["Relu"]
    assert not graph.constants


def test_all_findings_come_at_once() -> None:
    nodes = [node("Relu", "gone", "a"), node("Softmax", "x", "a", epsilon=1.0)]
    proto = model(nodes, inputs=[info("x", 1, "width")])
    assert set(refusal(proto)) == {"LB108", "LB109", "LB115", "LB118"}
