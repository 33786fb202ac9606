"""Sums over rows of integer levels that are exact, and so the same however they are split.

x [M, G, K] are levels, y [M, G, O] floats that are put on a grid first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lowbitc.compiler.statistics.moments import on_grid

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lowbitc.compiler.elements import Array, Float32, Float64

_AT_ONCE = 1 << 22
_TARGET_BITS = 24
"""Of a target: 24 bits and 8 of a level leave room for 2^21 exact sums in float64."""
_EXACT_IN_FLOAT32 = 1 << 24
_FEWEST_ROWS_WORTHWHILE = 1 << 10


def second_moments(x: Array) -> Float64:
    """Return Σ x xᵀ of integer rows [M, G, K], exactly, [G, K, K]."""
    _, groups, inputs = x.shape
    total = np.zeros((groups, inputs, inputs))
    peak = max(abs(int(x.max(initial=0))), abs(int(x.min(initial=0))), 1)
    exact = _EXACT_IN_FLOAT32 // (peak * peak)
    single = exact >= _FEWEST_ROWS_WORTHWHILE
    for part in _pieces(x, exact if single else x.shape[0]):
        if single:
            narrow = _grouped_single(part)
            total += np.swapaxes(narrow, 1, 2) @ narrow
        else:
            wide = _grouped(part)
            total += np.swapaxes(wide, 1, 2) @ wide
    return total


def cross_sums(y: Float32, x: Array) -> tuple[Float64, Float64]:
    """Return Σ y xᵀ [G, O, K] and Σ y [G, O], exactly: y is put on a grid of 24 bits."""
    largest = float(max(y.max(initial=0.0), -y.min(initial=0.0)))
    products, sums = np.zeros((x.shape[1], y.shape[2], x.shape[2])), np.zeros(y.shape[1:])
    start = 0
    for part in _pieces(x, x.shape[0]):
        stop = start + part.shape[0]
        paired = on_grid(y[start:stop], largest, _TARGET_BITS)
        products += np.swapaxes(_grouped(paired), 1, 2) @ _grouped(part)
        sums += paired.sum(axis=0)
        start = stop
    return products, sums


def outputs(x: Array, weights: Float64, bias: Float64) -> Float32:
    """Return x Wᵀ + b, [M, G, O]; W is put on a grid of 24 bits, so that the sums are exact."""
    largest = float(np.abs(weights).max(initial=0.0))
    turned = np.swapaxes(on_grid(weights, largest, _TARGET_BITS), 1, 2)
    found = np.empty((x.shape[0], *bias.shape), np.float32)
    start = 0
    for part in _pieces(x, x.shape[0]):
        stop = start + part.shape[0]
        found[start:stop] = np.moveaxis(_grouped(part) @ turned, 0, 1)
        start = stop
    found += bias.astype(np.float32)
    return found


def _pieces(x: Array, most: int) -> Iterator[Array]:
    step = max(1, min(most, _AT_ONCE // max(x[0].size if len(x) else 1, 1)))
    for start in range(0, x.shape[0], step):
        yield x[start : start + step]


def _grouped(part: Array) -> Float64:
    return np.ascontiguousarray(np.moveaxis(part, 1, 0), dtype=np.float64)


def _grouped_single(part: Array) -> Float32:
    return np.ascontiguousarray(np.moveaxis(part, 1, 0), dtype=np.float32)


def level_sums(x: Array) -> Float64:
    """Return Σ x [G, K], exactly."""
    return np.asarray(x.sum(axis=0, dtype=np.int64), np.float64)
