"""How many levels of a value are not 0, by place, summed over frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lowbitc.compiler.elements import Array, Int64
    from lowbitc.targets.placement.reads import Box


@dataclass(frozen=True, slots=True)
class Nonzeros:
    """Counts [rows, …] over the dimensions behind the frames.

    Row i of the first dimension holds the channels from ``starts[i]`` to before ``starts[i + 1]``
    together; it is only asked for boxes that begin and end there.
    """

    starts: Int64
    counts: Int64

    def total(self) -> int:
        """Return how many there are."""
        return int(self.counts.sum())

    def within(self, box: Box, taps: Sequence[Int64] = ()) -> int:
        """Return how many there are in a box, each times the ``taps`` of its place.

        ``taps`` holds one vector a dimension behind the channels, or is empty.
        """
        if not box:
            return self.total()
        held = self.counts[self._rows(box[0])]
        if not taps:
            return int(held[(slice(None), *box[1:])].sum())
        by_place = held.sum(axis=0)
        for vector in reversed(taps):
            by_place = by_place @ vector
        return int(by_place)

    def _rows(self, channels: slice) -> slice:
        start: int | None = channels.start
        stop: int | None = channels.stop
        begin = 0 if start is None else int(np.searchsorted(self.starts, start))
        return slice(begin, None if stop is None else int(np.searchsorted(self.starts, stop)))


def count_nonzeros(levels: Array) -> Nonzeros:
    """Count levels [n, …], each channel by itself."""
    counts = np.asarray(np.count_nonzero(levels, axis=0), np.int64)
    return Nonzeros(np.arange(counts.shape[0] if counts.ndim else 1, dtype=np.int64), counts)
