"""Names of nodes, definitions of values, and the order of nodes."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lowbitc.compiler.diagnostics import Diagnostic, Source, error, note
from lowbitc.compiler.onnx_subgraphs import captures

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from onnx import GraphProto, NodeProto

_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Step:
    """A node of the model with its unique name, and the outer values that its subgraphs read."""

    name: str
    proto: NodeProto
    captures: tuple[str, ...]

    @property
    def source(self) -> Source:
        """Where a finding about this node points."""
        return Source(self.name, self.proto.op_type)

    def reads(self) -> Iterator[str]:
        """Yield the values that the node needs."""
        yield from (value for value in self.proto.input if value)
        yield from self.captures


def name_nodes(nodes: Sequence[NodeProto], used: Iterable[str] = ()) -> list[Step]:
    """Name every node: as the user did, else by operator and position; repeated names count up.

    ``used`` are names of other nodes of the graph.
    """
    given = set(used)
    taken = given | {node.name for node in nodes if node.name}
    counts: dict[str, int] = {}
    steps: list[Step] = []
    for place, node in enumerate(nodes):
        name = node.name
        if not name or name in given:
            name = wanted = name or f"{node.op_type}_{place}"
            while name in taken:  # not fresh_name, which looks at all names for each
                counts[wanted] = counts.get(wanted, 0) + 1
                name = f"{wanted}.{counts[wanted]}"
            taken.add(name)
        given.add(name)
        steps.append(Step(name, node, captures(node)))
    return steps


def check_definitions(graph: GraphProto, steps: Sequence[Step]) -> Iterator[Diagnostic]:
    """Yield values that are defined twice, and values that are read and never defined."""
    makers, sources = _makers(graph, steps)
    for value, by in makers.items():
        if len(by) > 1:
            yield error(
                "LB109",
                f"{value} is defined {len(by)} times",
                sources=sources.get(value, ()),
                found=", ".join(by),
                allowed="one definition",
                hint="export the model again, or rename one of them",
            )
    readers: dict[str, list[Source]] = {}
    for step in steps:
        for value in dict.fromkeys(step.reads()):
            if value not in makers:
                readers.setdefault(value, []).append(step.source)
    for value, by_nodes in readers.items():
        names = ", ".join(source.node for source in by_nodes[:_SHOWN])
        yield error(
            "LB108",
            f"{value} is read by {names}, and nothing defines it",
            sources=by_nodes,
            allowed="an input, an initializer or a node's output",
            hint="export the model again with its parameters (export_params=True in PyTorch)",
        )
    for info in graph.output:
        if info.name not in makers:
            yield error("LB108", f"output {info.name} of the model is made by no node")


def _makers(
    graph: GraphProto, steps: Sequence[Step]
) -> tuple[dict[str, list[str]], dict[str, list[Source]]]:
    """Return who makes each value, in words, and the nodes among them."""
    held = [t.name for t in graph.initializer]
    held += [t.values.name for t in graph.sparse_initializer]
    makers: dict[str, list[str]] = {}
    for name in held:
        makers.setdefault(name, []).append("an initializer")
    constants = set(held)
    for info in graph.input:
        if info.name not in constants:
            makers.setdefault(info.name, []).append("an input")
    sources: dict[str, list[Source]] = {}
    for step in steps:
        for value in step.proto.output:
            if value:
                makers.setdefault(value, []).append(f"{step.name} ({step.proto.op_type})")
                sources.setdefault(value, []).append(step.source)
    return makers, sources


def sort_nodes(steps: Sequence[Step]) -> tuple[list[Step], list[Diagnostic]]:
    """Put nodes in an order that can run, as near to the given one as can be."""
    makers = {value: place for place, s in enumerate(steps) for value in s.proto.output if value}
    needs = [{makers[value] for value in step.reads() if value in makers} for step in steps]
    if all(max(before, default=-1) < place for place, before in enumerate(needs)):
        return list(steps), []
    followers: list[list[int]] = [[] for _ in steps]
    open_needs = [len(before) for before in needs]
    for place, before in enumerate(needs):
        for other in before:
            followers[other].append(place)
    ready = [place for place, count in enumerate(open_needs) if count == 0]
    order: list[int] = []
    while ready:
        place = heapq.heappop(ready)
        order.append(place)
        for follower in followers[place]:
            open_needs[follower] -= 1
            if open_needs[follower] == 0:
                heapq.heappush(ready, follower)
    if len(order) < len(steps):
        return list(steps), [_cycle(steps, needs, set(range(len(steps))) - set(order))]
    late = [steps[place].source for at, place in enumerate(order) if at != place]
    message = f"the nodes were not in an order that can run; {len(late)} were moved"
    return [steps[place] for place in order], [note("LB106", message, sources=late[:_SHOWN])]


def _cycle(steps: Sequence[Step], needs: Sequence[set[int]], stuck: set[int]) -> Diagnostic:
    """Walk backwards from a node that cannot run until one comes again: that is a cycle."""
    at = min(stuck)
    path: list[int] = []
    while at not in path:
        path.append(at)
        at = min(needs[at] & stuck)
    ring = [steps[place] for place in reversed(path[path.index(at) :])]
    first = min(range(len(ring)), key=lambda place: ring[place].name)
    ring = ring[first:] + ring[:first]
    names = " → ".join(step.name for step in [*ring, ring[0]])
    return error(
        "LB107",
        f"{len(ring)} nodes need each other's outputs in a circle: {names}",
        sources=[step.source for step in ring],
        allowed="a graph without cycles; recurrences go into Loop, Scan, LSTM or GRU",
        hint="export the model again",
    )
