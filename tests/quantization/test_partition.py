"""Launches: complete, in an order that runs, and as few as any schedule can have."""

from __future__ import annotations

from typing import TYPE_CHECKING

import networkx as nx
from hypothesis import given
from hypothesis import strategies as st

from lowbitc.compiler.diagnostics import Source
from lowbitc.compiler.elements import F32, U8
from lowbitc.compiler.ir import ops
from lowbitc.compiler.ir import quantized as q
from lowbitc.compiler.ir.graph import Graph, Stage, Where
from lowbitc.compiler.ir.types import TensorType
from lowbitc.compiler.ir.verify import verify
from lowbitc.passes.partition import Partition

if TYPE_CHECKING:
    from lowbitc.compiler.ir.node import Node


@st.composite
def mixed_graphs(draw: st.DrawFn) -> Graph:
    """Random DAGs of chip and CPU nodes, one value each."""
    count = draw(st.integers(1, 14))
    nodes: list[Node] = []
    for index in range(count):
        made = [n.outputs[0] for n in nodes]
        inputs = draw(st.lists(st.sampled_from([*made, "x"]), min_size=1, max_size=3, unique=True))
        name, source = f"n{index}", (Source(f"n{index}", "?"),)
        chip = draw(st.booleans())
        kind = q.QConcat if chip else ops.Concat
        nodes.append(
            kind(name=name, inputs=tuple(inputs), outputs=(f"v{index}",), sources=source, axis=1)
        )
    held = TensorType((1, 4), U8, (1.0,))
    return Graph(
        name="g",
        inputs=("x",),
        outputs=tuple(n.outputs[0] for n in nodes),
        nodes=tuple(nodes),
        types={"x": held, **{n.outputs[0]: held for n in nodes}},
        stage=Stage.QUANTIZED,
    )


def _most_launches_on_a_path(graph: Graph) -> int:
    """Return the largest number of chip runs, separated by CPU nodes, on any path."""
    makers = graph.producers()
    best: dict[str, int] = {}
    for node in graph.nodes:
        chip = isinstance(node, q.QConcat)
        before = [makers[v] for v in node.inputs if v in makers]
        runs = [best[p.name] + (1 if chip and not isinstance(p, q.QConcat) else 0) for p in before]
        best[node.name] = max([*runs, 1 if chip else 0])
    return max(best.values())


@given(mixed_graphs())
def test_regions_run_in_order_and_cover_every_node(graph: Graph) -> None:
    after = Partition().run(graph).graph
    assert list(verify(after)) == []
    names = [name for region in after.regions for name in region.nodes]
    assert sorted(names) == sorted(n.name for n in graph.nodes)


@given(mixed_graphs())
def test_no_schedule_has_fewer_launches(graph: Graph) -> None:
    after = Partition().run(graph).graph
    launches = [r for r in after.regions if r.where is Where.DEVICE]
    assert len(launches) == _most_launches_on_a_path(graph)


@given(mixed_graphs())
def test_the_contracted_graph_has_no_cycle(graph: Graph) -> None:
    after = Partition().run(graph).graph
    region_of = {name: i for i, region in enumerate(after.regions) for name in region.nodes}
    makers = graph.producers()
    edges = {
        (region_of[makers[v].name], region_of[n.name])
        for n in graph.nodes
        for v in n.inputs
        if v in makers
    }
    contracted: nx.DiGraph[int] = nx.DiGraph()
    contracted.add_edges_from((a, b) for a, b in edges if a != b)
    assert nx.is_directed_acyclic_graph(contracted)


def test_a_float_network_is_one_piece_on_the_cpu() -> None:
    node = ops.Relu(name="r", inputs=("x",), outputs=("y",), sources=(Source("r", "Relu"),))
    held = TensorType((1, 4), F32)
    graph = Graph(
        name="g",
        inputs=("x",),
        outputs=("y",),
        nodes=(node,),
        types={"x": held, "y": held},
        stage=Stage.QUANTIZED,
    )
    regions = Partition().run(graph).graph.regions
    assert [(r.where, r.nodes) for r in regions] == [(Where.HOST, ("r",))]
