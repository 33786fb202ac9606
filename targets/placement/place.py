"""Place a partitioned graph: cut layers into blocks, fill passes, give NPs their mesh positions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lowbitc.compiler.diagnostics import CompileError
from lowbitc.compiler.ir.graph import Graph, Where
from lowbitc.compiler.ir.quantized import DEVICE_OPS
from lowbitc.targets.placement.explain import does_not_fit
from lowbitc.targets.placement.layer import Layer, describe_layer
from lowbitc.targets.placement.model import NeuralProcessor, Pass, Placement
from lowbitc.targets.placement.routes import with_routes
from lowbitc.targets.placement.split import Block, Memory, blocks, choose_cut
from lowbitc.targets.placement.streams import held_rows

if TYPE_CHECKING:
    from lowbitc.compiler.diagnostics import Diagnostic
    from lowbitc.compiler.ir.node import Node


@dataclass(frozen=True, slots=True)
class Mesh:
    """The chip as placement sees it: NPs in ``width`` columns and ``height`` rows."""

    width: int
    height: int
    memory: Memory

    @property
    def processors(self) -> int:
        """Number of NPs."""
        return self.width * self.height

    def position(self, place: int) -> tuple[int, int]:
        """Return x and y of a place in row-snake order: every second row runs backwards."""
        y, x = divmod(place, self.width)
        return (self.width - 1 - x if y % 2 else x), y


@dataclass(frozen=True, slots=True)
class Launch:
    """The chip's nodes of one region, in order."""

    index: int
    nodes: tuple[Node, ...]


def launches(graph: Graph) -> tuple[Launch, ...]:
    """Return the launches of a partitioned graph, without their borders."""
    by_name = {node.name: node for node in graph.nodes}
    device = [r for r in graph.regions if r.where is Where.DEVICE]
    return tuple(
        Launch(
            index,
            tuple(by_name[n] for n in region.nodes if isinstance(by_name[n], DEVICE_OPS)),
        )
        for index, region in enumerate(device)
    )


def place(graph: Graph, mesh: Mesh) -> Placement:
    """Place every launch.

    Layers follow one another as in the graph, launch after launch; a pass takes as many as the
    mesh has NPs for. A layer that finds no room begins the next pass, or spreads over several
    when it is larger than the mesh. Raises CompileError LB501 with every layer that does not fit
    an NP however it is cut.
    """
    found: list[Diagnostic] = []
    layers: dict[str, Layer] = {}
    filler = _Filler(mesh)
    for launch in launches(graph):
        rows = held_rows(graph, launch.nodes)
        for node in launch.nodes:
            layer = describe_layer(node, graph, rows)
            if layer is None:
                continue
            layers[node.name] = layer
            cut = choose_cut(layer, mesh.memory)
            if cut is None:
                found.append(does_not_fit(layer, mesh.memory))
            else:
                filler.add(launch.index, layer, tuple(blocks(layer, cut)))
    filler.close()
    if found:
        raise CompileError(found)
    placement = Placement(tuple(filler.processors), tuple(filler.passes))
    return with_routes(graph, [launch.nodes for launch in launches(graph)], layers, placement)


class _Filler:
    """Fills passes with layers, one after the other."""

    def __init__(self, mesh: Mesh) -> None:
        self.mesh = mesh
        self.processors: list[NeuralProcessor] = []
        self.passes: list[Pass] = []
        self.start = 0
        self.launches: set[int] = set()

    def add(self, launch: int, layer: Layer, held: tuple[Block, ...]) -> None:
        used = len(self.processors) - self.start
        if used and used + len(held) > self.mesh.processors:
            self.close()
        for block in held:
            if len(self.processors) - self.start == self.mesh.processors:
                self.close()
            self.launches.add(launch)
            place = len(self.processors)
            x, y = self.mesh.position(place - self.start)
            self.processors.append(
                NeuralProcessor(
                    place,
                    x,
                    y,
                    layer.name,
                    block.channels,
                    block.inputs,
                    block.columns,
                    block.weight_bytes,
                    block.stage_bytes,
                    block.activation_bytes,
                )
            )

    def close(self) -> None:
        stop = len(self.processors)
        if stop == self.start:
            return
        load = sum(p.weight_bytes + p.stage_bytes for p in self.processors[self.start :])
        launches = (min(self.launches), max(self.launches) + 1)
        self.passes.append(Pass(len(self.passes), launches, (self.start, stop), load, 0))
        self.start = stop
        self.launches = set()
