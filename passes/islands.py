"""Islands: chip nodes of one launch that are connected, their work, and what crosses to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lowbitc.compiler.ir.graph import Where, reads
from lowbitc.compiler.ir.groups import WEIGHTED
from lowbitc.compiler.work import held_params, node_macs
from lowbitc.passes.partition import launch_depths

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable

    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.compiler.ir.node import Node

_SUM_BYTES = 4
"""Bytes of an int32 sum that leaves the chip; a level crosses as one byte."""


@dataclass(frozen=True, slots=True)
class Crossing:
    """What a target says of the border between CPU and chip.

    ``saved`` gives the seconds that the CPU saves when the chip does so many multiply-accumulates
    with so many parameters, for so many bytes that cross; ``launch`` is a launch's own time.
    """

    saved: Callable[[int, int, int], float]
    launch: float


@dataclass(frozen=True, slots=True)
class Island:
    """Nodes in order; ``launch`` counts from 1."""

    launch: int
    nodes: tuple[Node, ...]
    macs: int
    params: int
    crossing_bytes: int

    @property
    def weighted(self) -> bool:
        """Whether any of its nodes holds weights."""
        return any(isinstance(node, WEIGHTED) for node in self.nodes)

    def saved(self, crossing: Crossing) -> float:
        """Return the seconds that it saves the CPU, its launch not counted."""
        return crossing.saved(self.macs, self.params, self.crossing_bytes)


def find_islands(graph: Graph, host: Container[str]) -> tuple[Island, ...]:
    """Return the islands of a float graph whose nodes run on the chip unless in ``host``."""
    makers = graph.producers()
    depths = launch_depths(graph, lambda n: Where.HOST if n.name in host else Where.DEVICE)
    # Union-find in place: networkx would cost `lowbitc check` a fifth of its second to import.
    parent = {n.name: n.name for n in graph.nodes if n.name not in host}

    def root(name: str) -> str:
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    for node in graph.nodes:
        if node.name in parent:
            for value in reads(node):
                maker = makers.get(value)
                known = maker is not None and maker.name in parent
                if maker is not None and known and depths[maker.name] == depths[node.name]:
                    parent[root(maker.name)] = root(node.name)
    members: dict[str, list[Node]] = {}
    for node in graph.nodes:
        if node.name in parent:
            members.setdefault(root(node.name), []).append(node)
    return tuple(
        Island(
            depths[nodes[0].name],
            tuple(nodes),
            sum(node_macs(node, graph) for node in nodes),
            held_params(nodes, graph),
            sum(crossing_values(graph, nodes, host).values()),
        )
        for nodes in members.values()
    )


def crossing_values(graph: Graph, nodes: Iterable[Node], host: Container[str]) -> dict[str, int]:
    """Return the bytes of each value that chip nodes read from outside, or make for outside.

    Levels cross as bytes; sums of a last layer, which keeps its resolution, as int32.
    """
    inside = tuple(nodes)
    names = {node.name for node in inside}
    made = {value: node for node in inside for value in node.outputs}
    readers = graph.consumers()
    found: dict[str, int] = {}
    for node in inside:
        for value in reads(node):
            if value not in made and value not in graph.constants:
                found[value] = graph.tensor(value).size
    for value, node in made.items():
        after = readers.get(value, [])
        if value in graph.outputs or any(reader.name not in names for reader in after):
            sums = isinstance(node, WEIGHTED) and all(reader.name in host for reader in after)
            found[value] = graph.tensor(value).size * (_SUM_BYTES if sums else 1)
    return found
