"""Clips for activations: what to keep of a histogram at a given number of levels.

Every clip is a scale: value = level · scale. ``alpha`` is the magnitude of the outermost level,
2^b - 1 steps for unsigned levels (the clip of PACT, Choi et al. 2018) and 2^(b-1) steps for
two's complement. Multiplying all values by a power of two multiplies scale and alpha by it
exactly and leaves the relative numbers as they are. Where nothing can be represented (no
values, only zeros, only values of a sign the levels do not have) the scale is 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lowbitc.compiler.elements import Alphabet
from lowbitc.compiler.statistics.expected_error import (
    clipped_share,
    clipping_errors,
    squared_errors,
    tails,
)

if TYPE_CHECKING:
    from lowbitc.compiler.elements import Float64, LevelType
    from lowbitc.compiler.statistics.histogram import Histogram, Magnitudes

_OCTAVES = 40
_STEPS_IN_OCTAVE = 32
_LOCAL_MINIMA = 3
_ZOOMS = 2
_ZOOM_POINTS = 17
_BISECTIONS = 40
_OCTAV_STEPS = 100
_OCTAV_TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True)
class Clip:
    """A scale for one tensor and what it costs by the histogram it came from.

    ``relative_error`` is E[(x - q(x))²] / E[x²], 0.0 when every value is zero;
    ``clipped_share`` the share of all finite values beyond the outermost levels.
    """

    levels: LevelType
    scale: float
    alpha: float
    relative_error: float
    clipped_share: float


def clip_at(histogram: Histogram, levels: LevelType, scale: float) -> Clip:
    """Say what a given scale costs. Levels are unsigned or two's complement."""
    _require_zero(levels)
    energy = histogram.mean_square()
    error = float(squared_errors(histogram, np.array([scale]), levels)[0])
    return Clip(
        levels,
        scale,
        scale * _outermost(levels),
        error / energy if energy else 0.0,
        clipped_share(histogram, scale, levels),
    )


def clip_min_max(histogram: Histogram, levels: LevelType) -> Clip:
    """Choose the smallest scale at which nothing is clipped."""
    _require_zero(levels)
    return clip_at(histogram, levels, _min_max_scale(histogram, levels) or 1.0)


def clip_percentile(histogram: Histogram, levels: LevelType, share: float = 0.9999) -> Clip:
    """Choose the smallest scale that leaves at least ``share`` of all values unclipped.

    Zeros count as values. Values of a sign that the levels do not have do not use up the
    share that may be clipped.
    """
    _require_zero(levels)
    whole = _min_max_scale(histogram, levels)
    if not whole:
        return clip_at(histogram, levels, 1.0)
    allowed = 1.0 - share + clipped_share(histogram, whole, levels)
    low, high = 0.0, 1.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if clipped_share(histogram, whole * middle, levels) <= allowed:
            high = middle
        else:
            low = middle
    return clip_at(histogram, levels, whole * high)


def clip_mse(histogram: Histogram, levels: LevelType) -> Clip:
    """Choose the scale of the least expected squared error, up to the min-max scale.

    Searches fractions of the min-max scale, 32 an octave, down to where clipping alone costs
    more than min-max does; then finer around the three best local minima. A smaller scale
    has to be strictly better.
    """
    _require_zero(levels)
    whole = _min_max_scale(histogram, levels)
    if not whole:
        return clip_at(histogram, levels, 1.0)
    fractions = _fractions(histogram, levels, whole)
    errors = squared_errors(histogram, whole * fractions, levels)
    best, least = 1.0, float(errors[0])
    for index in _local_minima(errors):
        low = float(fractions[min(index + 1, fractions.size - 1)])
        high = float(fractions[max(index - 1, 0)])
        for _ in range(_ZOOMS):
            step = (high - low) / (_ZOOM_POINTS - 1)
            finer = high - step * np.arange(_ZOOM_POINTS, dtype=np.float64)
            found = squared_errors(histogram, whole * finer, levels)
            at = int(found.argmin())
            if found[at] < least:
                best, least = float(finer[at]), float(found[at])
            low = max(float(finer[at]) - step, low)
            high = min(float(finer[at]) + step, high)
    return clip_at(histogram, levels, whole * best)


def clip_octav(histogram: Histogram, levels: LevelType) -> Clip:
    """Choose the clip by the iteration of OCTAV (Sakr et al. 2022).

    alpha ← E[|x|; |x| > alpha] / (c · P(0 < |x| ≤ alpha) + P(|x| > alpha)) with c = 4^-b / 3 for
    signed and 4^-b / 12 for unsigned levels, from alpha = E[|x|] over the nonzero values. Exact
    zeros stay out, as a ReLU makes many. Finds the local minimum nearest zero; its noise
    model assumes a fine grid, so at 1 and 2 bits clip_mse is the better choice.
    """
    _require_zero(levels)
    whole = _min_max_scale(histogram, levels)
    if not whole:
        return clip_at(histogram, levels, 1.0)
    sides = [histogram.positive()] + ([histogram.negative()] if levels.signed else [])
    noise = 0.25**levels.bits / (3 if levels.signed else 12)
    total = sum(float(side.counts.sum()) for side in sides)
    alpha = sum(float((side.counts * side.means).sum()) for side in sides) / total
    for _ in range(_OCTAV_STEPS):
        count, magnitude = _beyond(sides, alpha)
        following = magnitude / (noise * (total - count) + count)
        if not following or abs(following - alpha) <= _OCTAV_TOLERANCE * alpha:
            break
        alpha = following
    return clip_at(histogram, levels, min(alpha / _outermost(levels), whole))


def _require_zero(levels: LevelType) -> None:
    if levels.alphabet is Alphabet.ODD:
        message = f"{levels.name} has no level 0; clips are for unsigned and signed levels"
        raise ValueError(message)


def _outermost(levels: LevelType) -> int:
    return max(levels.maximum, -levels.minimum)


def _min_max_scale(histogram: Histogram, levels: LevelType) -> float:
    """Give the scale at which the extremes are outermost levels; 0.0 if there is none."""
    ends = ((histogram.maximum, levels.maximum), (histogram.minimum, levels.minimum))
    return max(_reaching(extreme, level) for extreme, level in ends)


def _reaching(extreme: float, level: int) -> float:
    """Give the smallest scale at which a level is not nearer to 0 than an extreme of its sign."""
    if not level or extreme / level <= 0:
        return 0.0
    scale = extreme / level
    # The quotient may have been rounded down, which would leave the extreme outside.
    return scale if abs(scale * level) >= abs(extreme) else math.nextafter(scale, math.inf)


def _fractions(histogram: Histogram, levels: LevelType, whole: float) -> Float64:
    """List falling fractions of the min-max scale, all of them multiples of a power of two."""
    octaves = np.ldexp(1.0, -np.arange(_OCTAVES + 1))
    limit = squared_errors(histogram, np.array([whole]), levels)[0]
    clipped = clipping_errors(histogram, whole * octaves, levels)
    useful = int(np.count_nonzero(clipped[1:] < limit)) + 1
    within = 1.0 - np.arange(_STEPS_IN_OCTAVE) / (2 * _STEPS_IN_OCTAVE)
    return np.append(np.outer(octaves[:useful], within).ravel(), octaves[useful])


def _local_minima(errors: Float64) -> list[int]:
    """Give the indices of the best few local minima, best first, larger scales first."""
    padded = np.concatenate(([np.inf], errors, [np.inf]))
    low = np.flatnonzero((errors <= padded[:-2]) & (errors <= padded[2:]))
    order = np.argsort(errors[low], kind="stable")[:_LOCAL_MINIMA]
    return [int(index) for index in low[order]]


def _beyond(sides: list[Magnitudes], limit: float) -> tuple[float, float]:
    count, magnitude = 0.0, 0.0
    for side in sides:
        counts, magnitudes = tails(side, limit)
        count += float(counts.sum())
        magnitude += float(magnitudes.sum())
    return count, magnitude
