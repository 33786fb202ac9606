"""Fill passes over the chip with groups of layers, one after the other."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import networkx as nx

from lowbitc.targets.placement.arrange import arrange
from lowbitc.targets.placement.model import EXTERNAL, NeuralProcessor, Pass, Placement, Unit

if TYPE_CHECKING:
    from lowbitc.targets.placement.group import Planned
    from lowbitc.targets.placement.mesh import Mesh
    from lowbitc.targets.placement.split import Block


class Filler:
    """Gives groups NPs, and begins a pass where the mesh is full."""

    def __init__(self, mesh: Mesh) -> None:
        """Start with an empty chip."""
        self.mesh = mesh
        self.processors: list[NeuralProcessor] = []
        self.passes: list[Pass] = []
        self.slots: list[int] = []
        """By index, which NP of its pass holds the share; -1 the input unit."""
        self.start = 0
        self.used = 0
        self.dense = 0
        self.streaming = 0
        self.launches: set[int] = set()

    @property
    def placement(self) -> Placement:
        """What was placed so far, without positions and routes."""
        return Placement(tuple(self.processors), tuple(self.passes))

    def add(self, planned: Planned) -> None:
        """Place one group: whole in a pass if it can be, else over several."""
        shares = list(planned.group.shares(planned.cut))
        if planned.unit is Unit.INPUT:
            self._emit(planned, [(name, -1, block) for name, _, block in shares])
            return
        count = planned.processors
        if self.used and (self.used + count > self.mesh.processors or self._lacks_dense(planned)):
            self.close()
        done = 0
        while done < count:
            room = self.mesh.processors - self.used
            if not room:
                self.close()
                continue
            stop = min(done + room, count)
            part = [
                (name, self.used + number - done, block)
                for name, number, block in shares
                if done <= number < stop
            ]
            self._emit(planned, part)
            self.used += stop - done
            done = stop
        self.dense += count * planned.group.dense
        self.streaming += planned.unit is Unit.STREAMED

    def _lacks_dense(self, planned: Planned) -> bool:
        """Whether the pass has too few NPs for dense layers left."""
        mesh = self.mesh
        many = planned.group.dense and self.dense + planned.processors > mesh.dense_processors > 0
        streamed = planned.unit is Unit.STREAMED and self.streaming >= mesh.streaming_processors
        return many or streamed

    def _emit(self, planned: Planned, shares: list[tuple[str, int, Block]]) -> None:
        self.launches.add(planned.launch)
        for name, slot, block in shares:
            self.slots.append(slot)
            self.processors.append(
                NeuralProcessor(
                    len(self.processors),
                    0,
                    0,
                    name,
                    block.channels,
                    block.inputs,
                    block.columns,
                    block.weight_bytes,
                    block.stage_bytes,
                    block.activation_bytes,
                    unit=planned.unit,
                )
            )

    def close(self) -> None:
        """End a pass; nothing where it is empty."""
        stop = len(self.processors)
        if stop == self.start:
            return
        load = sum(
            p.stage_bytes + p.weight_bytes * (p.unit is not Unit.STREAMED)
            for p in self.processors[self.start :]
        )
        launches = (min(self.launches), max(self.launches) + 1)
        self.passes.append(Pass(len(self.passes), launches, (self.start, stop), load, 0))
        self.start = stop
        self.used = self.dense = self.streaming = 0
        self.launches = set()

    def arranged(self, routed: Placement) -> Placement:
        """Return a placement with routes, its NPs at positions that make them short."""
        placed: list[NeuralProcessor] = []
        for step in routed.passes:
            inside = routed.processors[slice(*step.processors)]
            traffic: nx.DiGraph[int] = nx.DiGraph()
            traffic.add_nodes_from(self.slots[p.index] for p in inside)
            for maker in inside:
                levels = _levels(maker)
                for start, stop in maker.routes:
                    for reader in range(start, stop) if start != EXTERNAL else ():
                        edge = (self.slots[maker.index], self.slots[reader])
                        weight = traffic.get_edge_data(*edge, {"weight": 0})["weight"]
                        traffic.add_edge(*edge, weight=weight + levels)
            fixed = dict.fromkeys(
                [-1] if -1 in traffic else [], (self.mesh.input_unit or ((0, 0),))[0]
            )
            at = arrange(traffic, self.mesh.positions(), fixed)
            for processor in inside:
                x, y = at[self.slots[processor.index]]
                placed.append(dataclasses.replace(processor, x=x, y=y))
        return Placement(tuple(placed), routed.passes)


def _levels(maker: NeuralProcessor) -> int:
    """Return a measure of the levels that an NP makes: channels times columns."""
    channels, columns = (stop - start for start, stop in (maker.channels, maker.columns))
    return channels * columns
