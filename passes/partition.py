"""Cut a quantized graph into launches of the chip and pieces on the CPU.

The walk gives each node the number of launches that must have started before it can be done:
d(n) = max over predecessors p of d(p) + 1 where the chip waits for the CPU, else d(p). All chip
nodes of equal d are one launch; no schedule has fewer, and the order of regions cannot be cyclic.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from lowbitc.compiler.ir.graph import Graph, Region, Stage, Where, reads
from lowbitc.compiler.ir.quantized import DEVICE_OPS, Dequantize, Quantize
from lowbitc.compiler.manager import PassResult

if TYPE_CHECKING:
    from collections.abc import Callable

    from lowbitc.compiler.ir.node import Node


@dataclass(frozen=True, slots=True)
class Partition:
    """Fill ``Graph.regions``: launches and CPU pieces in an order that runs."""

    name: ClassVar[str] = "partition"

    def run(self, graph: Graph) -> PassResult:
        """Return the graph with its regions, in stage PARTITIONED."""
        levels = launch_depths(graph, _where)
        regions: list[Region] = []
        for level in sorted(set(levels.values())):
            inside = [n for n in graph.nodes if levels[n.name] == level]
            for where in (Where.DEVICE, Where.HOST):
                names = tuple(n.name for n in inside if _where(n) is where)
                if names:
                    regions.append(Region(where, names))
        after = graph.replace(regions=tuple(regions), stage=Stage.PARTITIONED)
        return PassResult(after, changed=True)


def _where(node: Node) -> Where:
    chip = isinstance(node, (*DEVICE_OPS, Quantize, Dequantize))
    return Where.DEVICE if chip else Where.HOST


def launch_depths(graph: Graph, where: Callable[[Node], Where]) -> dict[str, int]:
    """Return d(n) by node name; 0 for what the CPU does before the first launch."""
    makers = graph.producers()
    level: dict[str, int] = {}
    for node in graph.nodes:
        here = where(node)
        depth = 1 if here is Where.DEVICE else 0
        for value in reads(node):
            maker = makers.get(value)
            if maker is None:
                continue
            waits = here is Where.DEVICE and where(maker) is Where.HOST
            depth = max(depth, level[maker.name] + int(waits))
        level[node.name] = depth
    return level
