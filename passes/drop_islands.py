"""Send islands back to the CPU whose work does not pay for their crossing."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from lowbitc.compiler.ir.groups import WEIGHTED
from lowbitc.passes.islands import Crossing, Island, find_islands

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lowbitc.compiler.ir.graph import Graph

NO_WORK = "LB290: nothing is multiplied here, so a crossing to the chip would not pay"
_STEPS = 4
"""Launches that read one weight, each after the other, from which on it is a recurrence."""


def drop_islands(graph: Graph, reasons: dict[str, str], crossing: Crossing | None) -> None:
    """Give every node that is not worth a launch a reason to stay on the CPU.

    First islands without weights go. Then, by the target's costs, steps of unrolled recurrences
    go, and launches, the one that saves least first, until each saves the CPU more than it takes;
    the launch that saves most always stays. Launches only become fewer, and as the partition is
    made anew from what is left, it cannot become cyclic.
    """
    islands = find_islands(graph, reasons)
    bare = [island for island in islands if not island.weighted]
    _drop(reasons, bare, NO_WORK)
    if bare or crossing is None:
        return
    launches: defaultdict[int, list[Island]] = defaultdict(list)
    for island in islands:
        launches[island.launch].append(island)
    saved = {
        launch: sum(max(island.saved(crossing), 0.0) for island in held)
        for launch, held in launches.items()
    }
    steps = _recurrences(graph, islands, saved, crossing)
    if steps:
        reasons.update(steps)
        return
    least = sorted(saved, key=lambda launch: (saved[launch], -launch))[:-1]
    if least and saved[least[0]] <= crossing.launch:
        _drop(reasons, launches[least[0]], _unpaid(launches[least[0]], crossing))
        return
    for held in launches.values():
        losing = [i for i in held if i.saved(crossing) <= 0]
        if len(losing) < len(held):
            _drop(reasons, losing, _unpaid(losing, crossing))


def _drop(reasons: dict[str, str], islands: Sequence[Island], why: str) -> None:
    reasons.update({node.name: why for island in islands for node in island.nodes})


def _unpaid(islands: Sequence[Island], crossing: Crossing) -> str:
    macs = sum(island.macs for island in islands)
    size = sum(island.crossing_bytes for island in islands)
    return (
        "LB250: its work does not pay for its crossing: "
        f"{macs:,} multiply-accumulates for a launch of {crossing.launch * 1e6:.0f} µs "
        f"and {size:,} bytes"
    )


def _recurrences(
    graph: Graph, islands: Sequence[Island], saved: Mapping[int, float], crossing: Crossing
) -> dict[str, str]:
    """Return reasons for islands that hold a step of an unrolled recurrence that does not pay.

    Its steps read one weight in several launches, each on what the one before made.
    """
    launches: defaultdict[str, set[int]] = defaultdict(set)
    holders: defaultdict[str, list[Island]] = defaultdict(list)
    for island in islands:
        for node in island.nodes:
            if isinstance(node, WEIGHTED) and node.inputs[1] in graph.constants:
                launches[node.inputs[1]].add(island.launch)
                holders[node.inputs[1]].append(island)
    main = max(saved, key=lambda launch: saved[launch], default=0)
    found: dict[str, str] = {}
    for weight, run in launches.items():
        gain = sum(max(i.saved(crossing), 0.0) for i in holders[weight])
        if len(run) < _STEPS or gain > len(run) * crossing.launch:
            continue
        why = (
            f"LB251: a step of an unrolled recurrence, which would take {len(run)} launches, "
            f"one after the other, to save {gain * 1e6:.0f} µs"
        )
        for island in holders[weight]:
            if island.launch != main:
                found.update({node.name: why for node in island.nodes})
    return found
