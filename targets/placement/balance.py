"""Give the NPs that are left to the slowest layers, for throughput.

A stage takes as long as the NP with most work in it: the weights that a block holds, times the
places of the output that it makes, in units of one 8-bit weight. The depthwise half of a separable
layer is done again by every NP of a tile, so that only more tiles make it shorter.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from lowbitc.targets.placement.model import Unit
from lowbitc.targets.placement.split import Cut

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lowbitc.targets.placement.group import Planned
    from lowbitc.targets.placement.mesh import Mesh


def spread(plans: Sequence[Planned], mesh: Mesh) -> list[Planned]:
    """Return plans that use up to all NPs of the mesh, those of the slowest layers increased."""
    held = list(plans)
    spare = mesh.processors - sum(p.processors for p in held if p.unit is not Unit.INPUT)
    open_ = {i for i, p in enumerate(held) if p.unit is Unit.NP}
    while open_ and spare > 0:
        slowest = max(sorted(open_), key=lambda i: stage_work(held[i]))
        better = _better(held[slowest], spare)
        if better is None:
            open_.discard(slowest)
            continue
        spare -= better.processors - held[slowest].processors
        held[slowest] = better
    return held


def stage_work(planned: Planned) -> float:
    """Return the work of the NP that has most of a group."""
    group, cut = planned.group, planned.cut
    layer = group.layer
    width = -(-layer.columns.outputs // cut.column_tiles)
    bits = layer.weight.bits if layer.weight else group.layer.input_bits
    channels = min(cut.channels, layer.outputs)
    work = channels * -(-layer.inputs // cut.input_parts) * layer.taps
    if group.before is not None:
        work += group.before.outputs * group.before.taps
    return group.rows * width * work * bits / 8


def _better(planned: Planned, spare: int) -> Planned | None:
    """Return the plan with more NPs that gains most an NP; None where nothing helps."""
    before = stage_work(planned)
    found: list[tuple[float, int, Planned]] = []
    for cut in _finer(planned):
        after = dataclasses.replace(planned, cut=cut)
        added = after.processors - planned.processors
        gained = before - stage_work(after)
        if 0 < added <= spare and gained > 0:
            found.append((-gained / added, added, after))
    return min(found, key=lambda f: f[:2])[2] if found else None


def _finer(planned: Planned) -> Iterator[Cut]:
    """Yield the cuts with the next larger number of blocks of channels, and of tiles."""
    layer, cut = planned.group.layer, planned.cut
    per_group = layer.outputs_per_group
    step = per_group if cut.channels >= per_group and layer.groups > 1 else 1
    total = layer.outputs if step == 1 else layer.groups
    parts = -(-total // (cut.channels // step))
    while parts < total:
        parts += 1
        channels = -(-total // parts) * step
        if channels < cut.channels and (layer.groups == 1 or channels % step == 0):
            yield Cut(channels, cut.input_parts, cut.column_tiles)
            break
    if cut.column_tiles < layer.columns.outputs:
        yield Cut(cut.channels, cut.input_parts, cut.column_tiles + 1)
