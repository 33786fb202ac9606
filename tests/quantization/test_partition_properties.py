"""Thousands of random networks: launches are complete, in order, as few as can be, and equal."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import networkx as nx
import numpy as np

from lowbitc.compiler.diagnostics import Source
from lowbitc.compiler.elements import F32, U8
from lowbitc.compiler.ir import ops
from lowbitc.compiler.ir import quantized as q
from lowbitc.compiler.ir.graph import Graph, Stage, Where
from lowbitc.compiler.ir.types import TensorType
from lowbitc.compiler.ir.verify import verify
from lowbitc.passes.drop_islands import drop_islands
from lowbitc.passes.islands import Crossing, find_islands
from lowbitc.passes.partition import Partition, launch_depths

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lowbitc.compiler.ir.node import Node

COUNT = 2000


def random_graphs(chip: type[Node], element: TensorType) -> Iterator[Graph]:
    """Yield DAGs of chip nodes, and Concats on the CPU: 1 to 24 nodes, up to three inputs each."""
    fields = {"axis": 1} if chip is q.QConcat else {}
    for seed in range(COUNT):
        draw = random.Random(seed)  # noqa: S311 - a test's graphs
        nodes: list[Node] = []
        for index in range(draw.randint(1, 24)):
            made = ["x", *(n.outputs[0] for n in nodes)]
            first, *rest = dict.fromkeys(draw.choices(made[-8:], k=draw.randint(1, 3)))
            name, output = f"n{index}", (f"v{index}",)
            source = (Source(name, "?"),)
            if draw.random() < 0.5:
                inputs = (first, "w", *rest) if chip is ops.Dense else (first, *rest)
                nodes.append(
                    chip(name=name, inputs=inputs, outputs=output, sources=source, **fields)
                )
            else:
                inputs = (first, *rest)
                nodes.append(
                    ops.Concat(name=name, inputs=inputs, outputs=output, sources=source, axis=1)
                )
        values = ["x", *(n.outputs[0] for n in nodes)]
        yield Graph(
            name="g",
            inputs=("x",),
            outputs=tuple(values[1:]),
            nodes=tuple(nodes),
            types=dict.fromkeys([*values, "w"], element),
            constants={"w": np.ones((4, 4), np.float32)} if chip is ops.Dense else {},
            stage=Stage.QUANTIZED,
        )


def bound(graph: Graph, chip: frozenset[str]) -> int:
    """Return the largest number of chip runs, apart by CPU nodes, on any path."""
    best: dict[str, int] = {}
    makers = graph.producers()
    for node in graph.nodes:
        on_chip = node.name in chip
        before = [makers[v].name for v in node.inputs if v in makers]
        runs = [best[p] + int(on_chip and p not in chip) for p in before]
        best[node.name] = max([*runs, int(on_chip)])
    return max(best.values())


def test_launches_are_complete_acyclic_minimal_and_equal() -> None:
    held = TensorType((1, 4), U8, (1.0,))
    for graph in random_graphs(q.QConcat, held):
        after = Partition().run(graph).graph
        assert list(verify(after)) == []
        order = [name for region in after.regions for name in region.nodes]
        assert sorted(order) == sorted(n.name for n in graph.nodes)
        launches = [r for r in after.regions if r.where is Where.DEVICE]
        chip = frozenset(n.name for n in graph.nodes if isinstance(n, q.QConcat))
        assert len(launches) == bound(graph, chip)
        assert nx.is_directed_acyclic_graph(_contracted(after))
        assert _outputs(graph, order) == _outputs(graph, [n.name for n in graph.nodes])


def _contracted(graph: Graph) -> nx.DiGraph[int]:
    region_of = {name: i for i, region in enumerate(graph.regions) for name in region.nodes}
    makers = graph.producers()
    edges = {
        (region_of[makers[v].name], region_of[n.name])
        for n in graph.nodes
        for v in n.inputs
        if v in makers
    }
    contracted: nx.DiGraph[int] = nx.DiGraph()
    contracted.add_edges_from((a, b) for a, b in edges if a != b)
    return contracted


def _outputs(graph: Graph, order: list[str]) -> dict[str, int]:
    """Run the nodes in an order, each as a function of its name and of what it reads."""
    by_name = {node.name: node for node in graph.nodes}
    values = {"x": 1}
    for name in order:
        node = by_name[name]
        values[node.outputs[0]] = hash((name, *(values[v] for v in node.inputs)))
    return values


def _crossing(threshold: int) -> Crossing:
    """Let an island pay by the number of bytes that cross, whatever they are."""
    return Crossing(lambda _macs, _params, size: float(threshold - size), float(threshold) / 2)


def test_islands_that_go_to_the_cpu_never_add_a_launch() -> None:
    held = TensorType((1, 4), F32)
    for number, graph in enumerate(random_graphs(ops.Dense, held)):
        host = {n.name: "LB200" for n in graph.nodes if isinstance(n, ops.Concat)}
        count = _launches(graph, host)
        before = -1
        while len(host) > before:
            before = len(host)
            drop_islands(graph, host, _crossing(number % 60))
            after = _launches(graph, host)
            assert after <= count
            count = after
        assert count == (
            bound(graph, frozenset(n.name for n in graph.nodes) - host.keys()) if count else 0
        )


def _launches(graph: Graph, host: dict[str, str]) -> int:
    depths = launch_depths(graph, lambda n: Where.HOST if n.name in host else Where.DEVICE)
    return len({depths[n.name] for n in graph.nodes if n.name not in host})


def test_an_island_is_what_is_connected_within_a_launch() -> None:
    held = TensorType((1, 4), F32)
    for graph in random_graphs(ops.Dense, held):
        host = {n.name for n in graph.nodes if isinstance(n, ops.Concat)}
        islands = find_islands(graph, host)
        names = [node.name for island in islands for node in island.nodes]
        assert sorted(names) == sorted(n.name for n in graph.nodes if n.name not in host)
