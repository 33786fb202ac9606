"""Hold a clip against the best one for the values that it is for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lowbitc.compiler.numerics import spec
from lowbitc.compiler.statistics.clips import clip_at, clip_mse
from lowbitc.compiler.statistics.error_sums import ExactSum
from lowbitc.compiler.statistics.expected_error import clipping_errors

if TYPE_CHECKING:
    from lowbitc.compiler.elements import Array, Float64, LevelType
    from lowbitc.compiler.statistics.histogram import Histogram

_MULTIPLES = tuple(2.0 ** (half / 2) for half in range(-6, 7))
"""Of the clip's scale, where channels have gains: an eighth to eight times."""
_NOW = _MULTIPLES.index(1.0)
_LOOKED_AT = 1 << 14
"""Most values of a sample."""


@dataclass(frozen=True, slots=True)
class ClipCosts:
    """Mean squared errors of values, at a clip and at the best one.

    ``best_scale`` is that of the best one; ``cut_share`` and ``cut`` say how many values lie beyond
    the clip, ``error_within`` is the error of the others.
    """

    error: float
    error_within: float
    best_error: float
    best_scale: float
    cut_share: float
    cut: float


def histogram_costs(histogram: Histogram, scale: float, element: LevelType) -> ClipCosts:
    """Compute the costs of all values that share a scale from their histogram."""
    now, best = clip_at(histogram, element, scale), clip_mse(histogram, element)
    power = histogram.mean_square()
    beyond = float(clipping_errors(histogram, np.array([scale]), element)[0])
    return ClipCosts(
        error=now.relative_error * power,
        error_within=max(now.relative_error * power - beyond, 0.0),
        best_error=best.relative_error * power,
        best_scale=best.scale,
        cut_share=now.clipped_share,
        cut=now.clipped_share * histogram.count,
    )


class GainedClip:
    """Measures clips of a value whose channels have gains, in the user's scale.

    There a channel's error counts by what it is to the user's tensor, not by the room that its
    gain gives it among the levels. Where a sample has many values, some evenly chosen ones count.
    """

    def __init__(self, scale: float, element: LevelType, gains: Array) -> None:
        """Look at multiples of ``scale``."""
        self.scale = scale
        self.element = element
        self.gains = np.asarray(gains, np.float64)
        self.errors = tuple(ExactSum() for _ in _MULTIPLES)
        self.within = ExactSum()
        self.count = 0
        self.cut = 0

    def add(self, values: Array, samples: int) -> None:
        """Add a batch of float values with gains, channels along axis 1."""
        shape = (1, -1, *(1,) * (values.ndim - 2))
        gains = np.broadcast_to(self.gains.reshape(shape), values.shape).reshape(samples, -1)
        rows = np.asarray(values, np.float32).reshape(samples, -1)
        step = -(-rows.shape[1] // _LOOKED_AT)
        top, bottom = self.element.maximum * self.scale, self.element.minimum * self.scale
        for row, gain in zip(rows[:, ::step], gains[:, ::step], strict=True):
            self.count += row.size
            for multiple, total in zip(_MULTIPLES, self.errors, strict=True):
                gap = self._gap(row, gain, self.scale * multiple)
                total.add(float(np.square(gap).sum()))
            inside = (row <= top) & (row >= bottom)
            self.cut += int(row.size - np.count_nonzero(inside))
            self.within.add(float(np.square(self._gap(row, gain, self.scale)[inside]).sum()))

    def _gap(self, row: Array, gain: Float64, scale: float) -> Float64:
        values = np.asarray(row, np.float32)
        levels = spec.quantize(values, scale, self.element)
        return np.asarray((levels * scale - values) / gain, np.float64)

    def costs(self) -> ClipCosts:
        """Return the costs of the clip, and of the best multiple of it."""
        count = max(self.count, 1)
        errors = [total.value / count for total in self.errors]
        best = int(np.argmin(errors))
        return ClipCosts(
            error=errors[_NOW],
            error_within=self.within.value / count,
            best_error=errors[best],
            best_scale=self.scale * _MULTIPLES[best],
            cut_share=self.cut / count,
            cut=self.cut,
        )
