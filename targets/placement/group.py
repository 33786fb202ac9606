"""Layers that share neural processors: a convolution, what comes before it, what comes behind.

On a mesh that fuses layers, the NPs of a pointwise convolution also run the depthwise convolution
before it (a separable layer), and those of any convolution the pool behind it.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lowbitc.compiler.ir.graph import reads
from lowbitc.compiler.ir.quantized import QAveragePool, QConv, QDense, QMaxPool
from lowbitc.targets.container import packed_bytes
from lowbitc.targets.placement.layer import Layer, describe_layer, element_of
from lowbitc.targets.placement.model import Unit
from lowbitc.targets.placement.split import Block, Cut, blocks, choose_cut, even_ranges

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.compiler.ir.node import Node
    from lowbitc.targets.placement.mesh import Mesh

_IMAGE_BITS = 8


@dataclass(frozen=True, slots=True)
class Group:
    """Layers on the same NPs: ``layer`` leads, and is cut; the others follow its blocks.

    ``resident`` is the leader as the NP's memories see it. ``before`` and ``behind`` are the
    depthwise convolution and the pool. ``rows`` are those of the leader's output.
    """

    layer: Layer
    resident: Layer
    before: Layer | None = None
    behind: Layer | None = None
    unit: Unit = Unit.NP
    dense: bool = False
    rows: int = 1

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all its layers, in order."""
        held = (self.before, self.layer, self.behind)
        return tuple(layer.name for layer in held if layer is not None)

    def choose_cut(self, mesh: Mesh) -> tuple[Cut, Unit] | None:
        """Return the cut with the fewest blocks, and what runs them; None where nothing fits."""
        whole = Cut(self.layer.outputs, 1, 1)
        if self.unit is Unit.INPUT:
            return whole, self.unit
        cut = choose_cut(self.resident, mesh.memory)
        streams = self.dense and mesh.streaming_processors
        if streams and (cut is None or cut.count(self.layer) > 1):
            held = self.resident.activation_bytes(self.resident.inputs, 1)
            return (whole, Unit.STREAMED) if held <= mesh.memory.activation_bytes else None
        return None if cut is None else (cut, Unit.NP)

    def shares(self, cut: Cut) -> Iterator[tuple[str, int, Block]]:
        """Yield each layer's blocks with the number of their NP, counted within the group."""
        held = tuple(blocks(self.layer, cut, self.resident))
        in_tile = len(held) // cut.column_tiles
        if self.before is not None:
            yield from self._before(self.before, cut, in_tile)
        yield from ((self.layer.name, number, block) for number, block in enumerate(held))
        if self.behind is not None:
            yield from self._behind(self.behind, cut, held[:in_tile])

    def _before(self, layer: Layer, cut: Cut, in_tile: int) -> Iterator[tuple[str, int, Block]]:
        """Give each NP of a tile its part of the depthwise channels."""
        columns = even_ranges(layer.columns.outputs, cut.column_tiles)
        for tile, column in enumerate(columns):
            channels = even_ranges(layer.outputs, min(in_tile, layer.outputs))
            for number, part in enumerate(channels):
                yield layer.name, tile * in_tile + number, _block(layer, part, column)

    def _behind(
        self, layer: Layer, cut: Cut, first: Sequence[Block]
    ) -> Iterator[tuple[str, int, Block]]:
        """Pool each NP's own channels; a pool of fewer columns than tiles is in the first ones."""
        columns = even_ranges(layer.columns.outputs, min(cut.column_tiles, layer.columns.outputs))
        for tile, column in enumerate(columns):
            for number, block in enumerate(first):
                if block.finishes:
                    at = tile * len(first) + number
                    yield layer.name, at, _block(layer, block.channels, column)


@dataclass(frozen=True, slots=True)
class Planned:
    """A group of layers of a launch, how it is cut, and what runs it."""

    launch: int
    group: Group
    cut: Cut
    unit: Unit

    @property
    def processors(self) -> int:
        """NPs that it takes."""
        return self.cut.count(self.group.layer)


def _block(layer: Layer, channels: tuple[int, int], columns: tuple[int, int]) -> Block:
    count = channels[1] - channels[0]
    weights, constants = layer.weight_bytes(count, layer.inputs), layer.constant_bytes(count)
    return Block(channels, (0, layer.inputs), columns, weights, constants, 0, finishes=True)


def group_layers(
    graph: Graph, nodes: Sequence[Node], held_rows: Mapping[str, int], mesh: Mesh
) -> Iterator[Group]:
    """Yield the groups of a launch in order; without fusing, one a layer that needs NPs."""
    readers: dict[str, list[Node]] = {}
    for node in nodes:
        for value in reads(node):
            readers.setdefault(value, []).append(node)
    taken: set[str] = set()

    def only_reader(node: Node) -> Node | None:
        found = readers.get(node.outputs[0], [])
        return found[0] if len(found) == 1 else None

    for node in nodes:
        layer = describe_layer(node, graph, held_rows)
        if layer is None or node.name in taken:
            continue
        leader, before, behind = node, None, None
        after = only_reader(node)
        if mesh.fused and isinstance(node, QConv):
            if node.groups > 1 and isinstance(after, QConv) and after.groups == 1:
                leader, before = after, layer
                after = only_reader(after)
            if isinstance(after, (QMaxPool, QAveragePool)):
                behind = describe_layer(after, graph, held_rows)
                taken.add(after.name)
        taken.add(leader.name)
        led = layer if leader is node else describe_layer(leader, graph, held_rows)
        if led is not None:
            yield Group(
                led,
                _resident(graph, node, led, before, mesh),
                before,
                behind,
                _unit(graph, node, mesh),
                isinstance(leader, QDense),
                _rows(graph, leader.outputs[0]),
            )


def _rows(graph: Graph, value: str) -> int:
    """Return the rows of a value; a sequence has rows only, a vector has one."""
    return (*graph.shape(value)[2:3], 1)[0]


def _unit(graph: Graph, node: Node, mesh: Mesh) -> Unit:
    image = isinstance(node, QConv) and element_of(graph, node.inputs[0]).bits == _IMAGE_BITS
    return Unit.INPUT if mesh.input_unit and image else Unit.NP


def _resident(graph: Graph, first: Node, layer: Layer, before: Layer | None, mesh: Mesh) -> Layer:
    """Return a group's leader as the memories of its NPs see it."""
    memory = mesh.memory
    held = layer
    if before is not None:
        bits = memory.depthwise_bits or (before.weight.bits if before.weight else 0)
        held = dataclasses.replace(
            held,
            held_rows=before.held_rows,
            columns=before.columns,
            input_bits=before.input_bits,
            beside_bytes=packed_bytes(before.outputs * before.taps, bits),
        )
    if memory.channel_bytes:
        held = dataclasses.replace(held, stage_bytes=memory.channel_bytes)
    if memory.whole_maps:
        rows = _rows(graph, first.inputs[0])
        held = dataclasses.replace(held, held_rows=rows, most_columns=memory.most_columns)
    return held
