"""Ask rows that are left out how far a layer's weights may follow the others.

Where calibration has few rows for a layer's inputs, the best weights for these rows are not the
best ones: λ of ``with_ridge`` pulls them back to the trained ones. How much of it is right depends
on how alike the rows are, which K/M does not say (neighbours in one image tell nearly the same). So
the target is solved on either half of the rows and judged on the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lowbitc.compiler.statistics.level_sums import cross_sums, level_sums, second_moments
from lowbitc.compiler.statistics.linear_systems import (
    factor_upper,
    multiply,
    solve_right,
    with_ridge,
)

if TYPE_CHECKING:
    from lowbitc.compiler.elements import Array, Float32, Float64

MULTIPLES = (1.0, 3.0, 10.0, 30.0)
_PLENTY = 100
"""Rows an input with which λ as it is makes no difference."""
_WORTHWHILE = 0.99


def choose_ridge(x: Array, y: Float32, weights: Float64) -> float:
    """Return what to multiply λ by for rows x [M, G, K] and targets y [M, G, O]."""
    count, _, inputs = x.shape
    if count >= _PLENTY * inputs or count <= 1:
        return 1.0
    halves = (slice(0, count // 2), slice(count // 2, count))
    parts = [_Part(x[half], y[half]) for half in halves]
    losses = [sum(_loss(a, b, weights, m) for a, b in (parts, parts[::-1])) for m in MULTIPLES]
    best = int(np.argmin(losses))
    return MULTIPLES[best] if losses[best] < _WORTHWHILE * losses[0] else 1.0


class _Part:
    """Centred moments of some rows."""

    def __init__(self, x: Array, y: Float32) -> None:
        self.count = len(x)
        mean = level_sums(x) / self.count
        raw = second_moments(x) / self.count
        products, sums = cross_sums(y, x)
        self.second = raw - mean[:, :, np.newaxis] * mean[:, np.newaxis, :]
        self.cross = (products - sums[:, :, np.newaxis] * mean[:, np.newaxis, :]) / self.count
        self.power = np.diagonal(raw, axis1=1, axis2=2).mean(axis=1)
        self.variance = float(y.var(axis=0, dtype=np.float64).sum())


def _loss(seen: _Part, held: _Part, weights: Float64, times: float) -> float:
    """Return the mean squared error on ``held`` of the weights that ``seen`` asks for."""
    second = with_ridge(seen.second, seen.count, seen.power, times)
    wanted = seen.cross + multiply(weights, second - seen.second)
    found = solve_right(wanted, factor_upper(second))
    return float(((multiply(found, held.second) - 2 * held.cross) * found).sum()) + held.variance
