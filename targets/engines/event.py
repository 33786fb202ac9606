"""The event engine: NP by NP from the images, as the chip does it; zeros cost nothing.

A nonzero level is an event. It carries the NP that made it, follows that NP's routes, and is taken
by the NPs whose block needs it. There, for each tap of the kernel, it adds its column of weights to
one row of sums; when all events are in, the output stage of the NP makes levels of the sums.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from lowbitc.compiler.ir import quantized as q
from lowbitc.targets.container import SectionType
from lowbitc.targets.engines.arrivals import OUTSIDE, Arrivals, arrivals
from lowbitc.targets.engines.event_blocks import Block, collect, finish, make
from lowbitc.targets.engines.reference import State, run_node, samples_of
from lowbitc.targets.engines.traffic import Traffic
from lowbitc.targets.engines.work import Work
from lowbitc.targets.placement.reads import MOVERS
from lowbitc.targets.program.image import Image, read_image

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lowbitc.compiler.elements import Array, Int64
    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.compiler.ir.node import Node
    from lowbitc.targets.engines.events import Counts, LayerCount
    from lowbitc.targets.engines.work import Operand, Share
    from lowbitc.targets.program.program import Launch, Program


class EventLaunch:
    """A launch that runs event by event."""

    def __init__(self, program: Program, launch: Launch) -> None:
        """Read the images of the launch's NPs; nothing else of its constants is used."""
        self.graph = launch.graph
        self.traffic = Traffic(launch.graph, program.placement)
        sections = program.container.of_kind(SectionType.NP_IMAGE)
        self.images: dict[int, Image] = {
            share.processor.index: read_image(sections[share.processor.index].data)
            for shares in self.traffic.shares.values()
            for share in shares
        }

    def run(self, inputs: Mapping[str, Array], counts: Counts | None = None) -> dict[str, Array]:
        """Return the launch's outputs by name for n samples joined along axis 0."""
        return _Run(self, inputs, counts).outputs()


@dataclass(slots=True)
class _Run:
    """Values so far: levels of all samples, and of one sample the NP that made each."""

    launch: EventLaunch
    inputs: Mapping[str, Array]
    counts: Counts | None
    levels: dict[str, Array] = field(default_factory=dict[str, "Array"])
    makers: dict[str, Array] = field(default_factory=dict[str, "Array"])

    @property
    def graph(self) -> Graph:
        return self.launch.graph

    def outputs(self) -> dict[str, Array]:
        graph = self.graph
        for value in graph.inputs:
            self._enter(value, np.asarray(self.inputs[value]))
        last = {v: i for i, node in enumerate(graph.nodes) for v in node.inputs}
        kept = {part.value for entry in self.launch.traffic.entries for part in entry.parts}
        for index, node in enumerate(graph.nodes):
            if node.name in self.launch.traffic.shares:
                self._layer(node)
            else:
                self._route(node)
            for value in node.inputs:
                if last[value] == index and value not in graph.outputs and value not in kept:
                    self.levels.pop(value, None)
        if self.counts is not None:
            samples = samples_of(graph, self.inputs)
            self.launch.traffic.enter(self._events, samples, self.counts)
        return {value: self._left(value) for value in graph.outputs}

    def _enter(self, value: str, levels: Array) -> None:
        self.levels[value] = levels
        self.makers[value] = np.full(self.graph.shape(value), OUTSIDE, np.int32)

    def _left(self, value: str) -> Array:
        held = self.graph.tensor(value).levels
        return self.levels[value] if held is None else self.levels[value].astype(held.dtype)

    def _events(self, part: Operand) -> int:
        return int(np.count_nonzero(self.levels[part.value][(slice(None), *part.box)]))

    def _route(self, node: Node) -> None:
        """Move levels, and who made them, as borders and routers do."""
        source, output = node.inputs[0], node.outputs[0]
        self.levels[output] = run_node(node, State(self.graph, self.levels))
        if isinstance(node, (q.Quantize, q.Dequantize)):
            self.makers[output] = np.full(self.graph.shape(output), OUTSIDE, np.int32)
        else:
            self.makers[output] = run_node(node, State(self.graph, {source: self.makers[source]}))

    # --- layers ----------------------------------------------------------------------------------

    def _layer(self, node: Node) -> None:
        traffic = self.launch.traffic
        shares = traffic.shares[node.name]
        samples = samples_of(self.graph, self.inputs)
        layer = None if self.counts is None else self.counts.of(node.name)
        if layer is not None:
            self._count_inputs(node, layer)
        moved = isinstance(node, MOVERS)
        form = node.inputs[0] if moved else node.outputs[0]
        shape = self.graph.shape(form)
        levels: Array = np.zeros((samples * shape[0], *shape[1:]), np.int32)
        makers: Array = np.full(shape, OUTSIDE, np.int32)
        sums: Int64 | None = None
        for share in shares:
            came = [self._arrived(operand, share, node) for operand in share.operands]
            block = Block(node, self.graph, share, self.launch.images[share.processor.index])
            made, uses = (
                collect(block, came[0])
                if isinstance(node, q.StagedNode)
                else make(node, block, came)
            )
            if isinstance(node, q.StagedNode):
                # An NP that holds a part of the inputs hands its sums on to the next one.
                sums = made if sums is None else sums + made
                made = finish(block, sums) if share.finishes else made
            if share.finishes:
                place = (slice(None), *(share.made or share.operands[0].box))
                levels[place] = made
                makers[place] = share.processor.index
                sums = None
            if layer is not None:
                events_out = int(np.count_nonzero(made)) if share.finishes else 0
                work = Work(sum(len(a.levels) for a in came), uses, events_out)
                share.book(work, samples, layer.of(share.processor.index))
        output = node.outputs[0]
        if moved:
            levels = run_node(node, State(self.graph, {form: levels}))
            makers = run_node(node, State(self.graph, {form: makers}))
        self.levels[output] = levels
        self.makers[output] = makers

    def _count_inputs(self, node: Node, layer: LayerCount) -> None:
        for value in node.inputs:
            if value and value not in self.graph.constants:
                layer.levels += self.levels[value].size
                layer.events += int(np.count_nonzero(self.levels[value]))

    def _arrived(self, operand: Operand, share: Share, node: Node) -> Arrivals:
        """Return the events of a box that come to an NP by the routes of those that made them."""
        levels, makers = self.levels[operand.value], self.makers[operand.value]
        axis = levels.ndim - 1 if isinstance(node, q.QDense) else 1
        index = share.processor.index
        reaches = self.launch.traffic.reaches
        return arrivals(levels, makers, operand.box, axis, lambda maker: reaches(maker, index))
