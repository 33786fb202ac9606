"""What quantization would cost a histogram's values, in closed form.

With t = x/s and n(t) the nearest level, limited to the top one, the squared error of a value
is s²·(t - n)². Over a uniform piece within one level's cell its mean is r² + h²/3 (r: distance
of the piece's middle from the level, h: half width, both in steps). Over a piece that crosses
cells it is (G(t + h) - G(t - h)) / 2h with the primitive G(t) = n/12 + (t - n)³/3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from lowbitc.compiler.elements import Float64, LevelType
    from lowbitc.compiler.statistics.histogram import Histogram, Magnitudes

_ELEMENTS_AT_ONCE = 1 << 18
_TINY_HALF_WIDTH = 1e-6
"""In steps: a piece narrower than this never counts as crossing cells (G would cancel)."""


def squared_errors(histogram: Histogram, scales: Float64, levels: LevelType) -> Float64:
    """Give the mean squared error of each scale over all finite values, zeros included.

    ``scales`` [S] are positive; value = level · scale. Levels must contain 0 (unsigned or
    two's complement). Values of a sign that the levels do not have become 0.
    """
    total = _summed_errors(histogram.positive(), scales, levels.maximum)
    total += _summed_errors(histogram.negative(), scales, -levels.minimum)
    return total / max(histogram.count, 1)


def clipping_errors(histogram: Histogram, scales: Float64, levels: LevelType) -> Float64:
    """Give the part of squared_errors due to values beyond the outermost levels, at least.

    A lower bound that never decreases as the scale shrinks: pieces count by their middle.
    """
    total = np.zeros(scales.shape)
    for side, top in _sides(histogram, levels):
        for rows in _blocks(scales.size, side.means.size):
            beyond = np.maximum(side.means - top * scales[rows, np.newaxis], 0.0)
            total[rows] += (side.counts * (beyond * beyond)).sum(axis=1)
    return total / max(histogram.count, 1)


def clipped_share(histogram: Histogram, scale: float, levels: LevelType) -> float:
    """Give the share of all finite values that lie beyond the outermost levels."""
    beyond = 0.0
    for side, top in _sides(histogram, levels):
        counts, _ = tails(side, scale * top)
        beyond += float(counts.sum())
    return beyond / max(histogram.count, 1)


def tails(side: Magnitudes, limit: float) -> tuple[Float64, Float64]:
    """Give, piece by piece, how many magnitudes exceed ``limit`` and what they sum to."""
    low, high = side.means - side.half_widths, side.means + side.half_widths
    width = np.where(high > low, high - low, 1.0)
    share = np.where(high > low, np.clip((high - limit) / width, 0.0, 1.0), high > limit)
    counts = side.counts * share
    return counts, counts * (np.maximum(low, limit) + high) / 2


def _sides(histogram: Histogram, levels: LevelType) -> tuple[tuple[Magnitudes, int], ...]:
    return (
        (histogram.positive(), levels.maximum),
        (histogram.negative(), -levels.minimum),
    )


def _blocks(rows: int, columns: int) -> list[slice]:
    step = max(1, _ELEMENTS_AT_ONCE // max(columns, 1))
    return [slice(start, start + step) for start in range(0, rows, step)]


def _summed_errors(side: Magnitudes, scales: Float64, top: int) -> Float64:
    total = np.zeros(scales.shape)
    for rows in _blocks(scales.size, side.means.size):
        scale = scales[rows, np.newaxis]
        middle, half = side.means / scale, side.half_widths / scale
        low, high = middle - half, middle + half
        residue = middle - np.minimum(np.rint(middle), top)
        mean = residue * residue + half * half / 3
        first, last = np.minimum(np.rint(low), top), np.minimum(np.rint(high), top)
        crossing = np.nonzero((first != last) & (half > _TINY_HALF_WIDTH))
        primitive = _primitive(high[crossing], last[crossing])
        primitive -= _primitive(low[crossing], first[crossing])
        mean[crossing] = primitive / (2 * half[crossing])
        total[rows] = (side.counts * mean).sum(axis=1) * scales[rows] * scales[rows]
    return total


def _primitive(position: Float64, level: Float64) -> Float64:
    residue = position - level
    return level / 12 + residue * residue * residue / 3
