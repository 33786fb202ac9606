"""Ask rows that are left out how far a layer's weights may follow the others.

Where calibration has few rows for a layer's inputs, the best weights for these rows are not the
best ones: λ of ``with_ridge`` pulls them back to the trained ones. How much of it is right depends
on how alike the rows are, which K/M does not say (neighbours in one image tell nearly the same). So
the target is solved on either half of the rows and judged on the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lowbitc.compiler.statistics.level_sums import cross_sums, level_sums, outputs, second_moments
from lowbitc.compiler.statistics.linear_systems import (
    factor_upper,
    multiply,
    ridge_of,
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
    losses = (by_rows if count <= inputs else by_inputs)(x, y, weights)
    best = int(np.argmin(losses))
    return MULTIPLES[best] if losses[best] < _WORTHWHILE * losses[0] else 1.0


def _halves(count: int) -> tuple[slice, slice]:
    return slice(0, count // 2), slice(count // 2, count)


# --- where inputs are fewer ----------------------------------------------------------------------


def by_inputs(x: Array, y: Float32, weights: Float64) -> list[float]:
    """Return for each multiple the mean squared error on rows left out, from systems [K, K]."""
    first, second = (_Part(x[half], y[half]) for half in _halves(len(x)))
    return [_loss(first, second, weights, m) + _loss(second, first, weights, m) for m in MULTIPLES]


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
    ridge = np.diagonal(second - seen.second, axis1=1, axis2=2)[:, np.newaxis]
    found = solve_right(seen.cross + weights * ridge, factor_upper(second))
    return float(((multiply(found, held.second) - 2 * held.cross) * found).sum()) + held.variance


# --- where rows are fewer ------------------------------------------------------------------------


def by_rows(x: Array, y: Float32, weights: Float64) -> list[float]:
    """Return the same from systems [M/2, M/2]: xᵀ (x xᵀ + λI)⁻¹ = (xᵀ x + λI)⁻¹ xᵀ."""
    kernel = second_moments(np.transpose(x, (2, 1, 0)))
    missed = y - outputs(x, weights, np.zeros(weights.shape[:2]))
    residuals = np.asarray(np.transpose(missed, (1, 2, 0)), np.float64)
    pairs = _halves(len(x)), _halves(len(x))[::-1]
    return [
        sum(_row_loss(kernel, residuals, seen, held, x.shape[2], m) for seen, held in pairs)
        for m in MULTIPLES
    ]


def _row_loss(
    kernel: Float64, residuals: Float64, seen: slice, held: slice, inputs: int, times: float
) -> float:
    """Return the mean squared error on the rows ``held``, of the weights that ``seen`` asks for."""
    own, across = kernel[:, seen, seen], kernel[:, seen, held]
    count = own.shape[1]
    system = _centred(own) / count
    raw, mean = (np.trace(m, axis1=1, axis2=2) / inputs for m in (own / count, system))
    ridge = ridge_of(mean, inputs, count, raw, times)
    system += ridge[:, np.newaxis, np.newaxis] * np.eye(count)
    wanted, missed = _less_means(residuals[:, :, seen]), _less_means(residuals[:, :, held])
    taken = solve_right(wanted / count, factor_upper(system))
    left = missed - multiply(taken, _centred(across))
    return float(np.square(left).sum() / left.shape[2])


def _centred(kernel: Float64) -> Float64:
    """Return products of rows less their means, from products of rows [G, M, N]."""
    rows, columns = kernel.mean(axis=2, keepdims=True), kernel.mean(axis=1, keepdims=True)
    return np.asarray(kernel - rows - columns + kernel.mean(axis=(1, 2), keepdims=True))


def _less_means(values: Float64) -> Float64:
    return np.asarray(values - values.mean(axis=2, keepdims=True))
