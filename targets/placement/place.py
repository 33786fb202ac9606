"""Place a partitioned graph: cut layers into blocks, fill passes, give NPs their mesh positions."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lowbitc.compiler.diagnostics import CompileError, error
from lowbitc.compiler.ir.graph import Graph, Where
from lowbitc.compiler.ir.quantized import DEVICE_OPS
from lowbitc.targets.placement.balance import spread
from lowbitc.targets.placement.explain import does_not_fit, too_many
from lowbitc.targets.placement.fill import Filler
from lowbitc.targets.placement.group import Planned, group_layers
from lowbitc.targets.placement.layer import Layer, describe_layer
from lowbitc.targets.placement.mesh import MODES, Mesh
from lowbitc.targets.placement.routes import with_routes
from lowbitc.targets.placement.streams import held_rows

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lowbitc.compiler.diagnostics import Diagnostic
    from lowbitc.compiler.ir.node import Node
    from lowbitc.targets.placement.model import Placement
    from lowbitc.targets.placement.split import Cut


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


def place(
    graph: Graph, mesh: Mesh, mode: str = MODES[0], cuts: Mapping[str, Cut] | None = None
) -> Placement:
    """Place every launch.

    Layers follow one another as in the graph, launch after launch; a pass takes as many as the
    mesh has NPs for. In mode ``passes``, a layer that finds no room begins the next pass, or
    spreads over several when it is larger than the mesh; the other modes allow one pass. ``cuts``
    say by name how some layers are cut, whatever the mode. Raises CompileError LB501 with every
    layer that does not fit an NP however it is cut, LB502 where one pass is not enough, LB503 for
    an unknown mode.
    """
    if mode not in MODES:
        problem = error(
            "LB503", f"there is no placement mode {mode!r}", found=mode, allowed=", ".join(MODES)
        )
        raise CompileError([problem])
    plans = plan(graph, mesh)
    if mode == "fast":
        plans = spread(plans, mesh)
    given = cuts or {}
    plans = [dataclasses.replace(p, cut=given.get(p.group.layer.name, p.cut)) for p in plans]
    filler = Filler(mesh)
    for planned in plans:
        filler.add(planned)
    filler.close()
    if mode != "passes" and len(filler.passes) > 1:
        raise CompileError([too_many(plans, filler.placement, mesh)])
    layers = _layers(graph)
    nodes = [launch.nodes for launch in launches(graph)]
    return filler.arranged(with_routes(graph, nodes, layers, filler.placement))


def plan(graph: Graph, mesh: Mesh) -> list[Planned]:
    """Return how every group of layers is cut for the fewest NPs.

    Raises CompileError LB501.
    """
    found: list[Diagnostic] = []
    plans: list[Planned] = []
    for launch in launches(graph):
        rows = held_rows(graph, launch.nodes)
        for group in group_layers(graph, launch.nodes, rows, mesh):
            chosen = group.choose_cut(mesh)
            if chosen is None:
                found.append(does_not_fit(group.resident, mesh.memory))
            else:
                plans.append(Planned(launch.index, group, *chosen))
    if found:
        raise CompileError(found)
    return plans


def _layers(graph: Graph) -> dict[str, Layer]:
    found: dict[str, Layer] = {}
    for launch in launches(graph):
        rows = held_rows(graph, launch.nodes)
        for node in launch.nodes:
            layer = describe_layer(node, graph, rows)
            if layer is not None:
                found[node.name] = layer
    return found
