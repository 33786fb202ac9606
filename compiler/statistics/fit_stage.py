"""Fit the gain and offset of an output stage to what the levels stand for.

At 1 or 2 bits a stage rounds so coarsely that matching sums is not matching activations: where a
layer's sums z are a shrunken estimate of the float network's, too few reach the upper levels. So
gain and offset of each channel are searched for the least Σ (a - s · level(g z + o))², where a is
the float activation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from lowbitc.compiler.elements import Float32, Float64, LevelType

_MOST_ROWS = 1 << 14
_GAINS = (0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.35, 1.5, 1.7)
_OFFSETS = 9
_REACH = 0.6
"""Largest offset, in levels."""


@dataclass(frozen=True, slots=True, eq=False)
class StageFit:
    """Gain and offset by channel, and the error before and after over the power of a."""

    gain: Float64
    offset: Float64
    before: float
    after: float


def fit_stage(sums: Float32, wanted: Float32, scale: float, element: LevelType) -> StageFit:
    """Search gain and offset for z and a, both [M, C]; rows are thinned evenly to 2^14."""
    step = -(-sums.shape[0] // _MOST_ROWS)
    z = np.ascontiguousarray(sums[::step].T) / np.float32(scale)
    a = np.ascontiguousarray(wanted[::step].T) / np.float32(scale)
    channels = z.shape[0]
    gain, offset = np.ones(channels), np.zeros(channels)
    start = _error(z, a, element)
    least = start.copy()
    for factor in _GAINS:
        moved = z * np.float32(factor)
        for shift in np.linspace(-_REACH, _REACH, _OFFSETS):
            found = _error(moved + np.float32(shift), a, element)
            better = found < least
            gain[better], offset[better], least[better] = factor, shift * scale, found[better]
    power = float((a.astype(np.float64) ** 2).sum()) or 1.0
    return StageFit(gain, offset, float(start.sum()) / power, float(least.sum()) / power)


def _error(steps: Float32, wanted: Float32, element: LevelType) -> Float64:
    levels = np.floor(steps + np.float32(0.5))
    np.clip(levels, element.minimum, element.maximum, out=levels)
    levels -= wanted
    levels *= levels
    return np.asarray(levels.sum(axis=1, dtype=np.float64))
