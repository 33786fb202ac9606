"""Where the levels of each neural processor go."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lowbitc.targets.placement.model import EXTERNAL, Placement
from lowbitc.targets.placement.reads import MOVERS, boxes_meet, made_box, operands, read_box

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.compiler.ir.node import Node
    from lowbitc.targets.placement.layer import Layer
    from lowbitc.targets.placement.model import NeuralProcessor, Range

_BYTE_BITS = 8


@dataclass(frozen=True, slots=True)
class _Reader:
    """A layer that reads a value as its ``operand``, ``direct`` if as it was made."""

    node: Node
    operand: int
    direct: bool


def with_routes(
    graph: Graph,
    launches: Sequence[Sequence[Node]],
    layers: Mapping[str, Layer],
    placement: Placement,
) -> Placement:
    """Return the placement with every NP's routes and every pass's spilled bytes."""
    held = placement.of_layer()
    pass_of = [0] * len(placement.processors)
    for step in placement.passes:
        for index in range(*step.processors):
            pass_of[index] = step.index
    routes: dict[int, tuple[Range, ...]] = {}
    spilled = [0] * len(placement.passes)
    for nodes in launches:
        readers = _readers(graph, nodes, held)
        for node in nodes:
            router = _Router(graph, node, readers[node.name], held, layers, pass_of)
            for maker in held.get(node.name, ()):
                routes[maker.index] = router.routes(maker)
            if node.name in held:
                last = held[node.name][-1]
                if any(EXTERNAL in r for r in routes[last.index]) and readers[node.name]:
                    spilled[pass_of[last.index]] += value_bytes(graph, node.outputs[0])
    processors = tuple(dataclasses.replace(p, routes=routes[p.index]) for p in placement.processors)
    passes = tuple(dataclasses.replace(p, spill_bytes=spilled[p.index]) for p in placement.passes)
    return Placement(processors, passes)


def value_bytes(graph: Graph, value: str) -> int:
    """Return the bytes of a value's packed levels for one sample."""
    held = graph.tensor(value)
    bits = held.levels.bits if held.levels else 0
    return -(-math.prod(held.dims) * bits // _BYTE_BITS)


def _readers(
    graph: Graph, nodes: Sequence[Node], held: Mapping[str, object]
) -> dict[str, list[_Reader]]:
    """Map each layer with NPs to those that read its output, through what routers do."""
    by_value: dict[str, list[_Reader]] = {}
    found: dict[str, list[_Reader]] = {}
    for node in reversed(nodes):
        behind = [r for value in node.outputs for r in by_value.get(value, [])]
        found[node.name] = behind
        for operand, value in enumerate(operands(node, graph)):
            reading = by_value.setdefault(value, [])
            if node.name in held:
                reading.append(_Reader(node, operand, direct=True))
            else:
                reading += [dataclasses.replace(r, direct=False) for r in behind]
    return found


@dataclass(frozen=True, slots=True)
class _Router:
    """Finds the routes of a layer's NPs."""

    graph: Graph
    node: Node
    readers: Sequence[_Reader]
    held: Mapping[str, tuple[NeuralProcessor, ...]]
    layers: Mapping[str, Layer]
    pass_of: Sequence[int]

    def routes(self, maker: NeuralProcessor) -> tuple[Range, ...]:
        pass_of = self.pass_of
        if maker.inputs[1] < self.layers[maker.layer].inputs:
            # Sums go on to the NP that holds the next part of the inputs.
            following = maker.index + 1
            near = pass_of[following] == pass_of[maker.index]
            return ((following, following + 1),) if near else ((EXTERNAL, EXTERNAL),)
        targets: set[int] = set()
        away = not self.readers
        for reader in self.readers:
            for processor in self.held[reader.node.name]:
                if not self._meets(maker, reader, processor):
                    continue
                if pass_of[processor.index] == pass_of[maker.index]:
                    targets.add(processor.index)
                else:
                    away = True
        ranges = _ranges(sorted(targets))
        return (*ranges, (EXTERNAL, EXTERNAL)) if away else ranges

    def _meets(self, maker: NeuralProcessor, reader: _Reader, processor: NeuralProcessor) -> bool:
        """Whether an NP may read any of what ``maker`` makes; not known behind a router."""
        if not reader.direct or isinstance(self.node, MOVERS):
            return True
        made = made_box(self.node, self.graph, self.layers[maker.layer], maker)
        layer = self.layers[reader.node.name]
        read = read_box(reader.node, self.graph, layer, processor, reader.operand)
        return boxes_meet(made, read, self.graph.shape(self.node.outputs[0]))


def _ranges(indices: Iterable[int]) -> tuple[Range, ...]:
    """Join indices that follow one another."""
    found: list[Range] = []
    for index in indices:
        if found and found[-1][1] == index:
            found[-1] = (found[-1][0], index + 1)
        else:
            found.append((index, index + 1))
    return tuple(found)
