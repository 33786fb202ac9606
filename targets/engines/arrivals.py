"""Events that come to a neural processor, channel by channel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lowbitc.compiler.elements import Array, Int32, Int64
    from lowbitc.targets.placement.reads import Box

OUTSIDE = -1
"""As the maker of an event: it comes from outside the mesh."""


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Nonzero levels of a box, ascending by channel, then row.

    ``shape`` is that of the box with its channels first: (channels, frames, …); a row counts over
    the dimensions behind the channels. Both count from the box's start.
    """

    levels: Int32
    channels: Int64
    rows: Int64
    shape: tuple[int, ...]

    def runs(self) -> Iterator[tuple[int, int, int]]:
        """Yield each channel that has events, with the start and the stop of its run."""
        yield from runs(self.channels)

    def dense(self) -> Int64:
        """Return all levels of the box, channels first."""
        channels, *behind = self.shape
        held = np.zeros((channels, int(np.prod(behind))), np.int64)
        held[self.channels, self.rows] = self.levels
        return held.reshape(self.shape)


def runs(channels: Int64) -> Iterator[tuple[int, int, int]]:
    """Yield each channel of an ascending array, with the start and the stop of its run."""
    starts = np.flatnonzero(np.diff(channels, prepend=-1)).tolist()
    for start, stop in zip(starts, [*starts[1:], len(channels)], strict=False):
        yield int(channels[start]), start, stop


def arrivals(
    levels: Array, makers: Array, box: Box, axis: int, reaches: Callable[[int], bool]
) -> Arrivals:
    """Return the events of a box of a value [n, …] that come to an NP.

    ``makers`` holds the NP that made each level of one sample, ``reaches`` says whose events the
    NP gets; channels are on ``axis``.
    """
    whole = (slice(None), *box)
    held = np.asarray(levels[whole], np.int32)
    sent_by = makers[whole]
    lost = [m for m in np.unique(sent_by).tolist() if m != OUTSIDE and not reaches(m)]
    if lost:
        samples = len(levels) // len(makers)
        held = np.where(np.concatenate([np.isin(sent_by, lost)] * samples), 0, held)
    turned = np.ascontiguousarray(np.moveaxis(held, axis, 0))
    flat = turned.reshape(-1)
    found = np.flatnonzero(flat)
    rows = max(flat.size // max(len(turned), 1), 1)
    return Arrivals(flat[found], found // rows, found % rows, turned.shape)
