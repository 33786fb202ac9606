"""Second moments of layer inputs, summed row by row: H = Σ x xᵀ, C = Σ y xᵀ, Σ x and Σ y.

x are the rows a layer sees once quantized, y, if given, what the float network has in the same
place. Sums are float64, exact for integer rows while they stay below 2^53, and then
independent of order, batch split and thread count. Sums of float rows are not: the matrix
product chooses its own order. ``on_grid`` makes float rows integers times a power of two, so
that their sums are exact as well.

Memory is 8 · K² bytes a group (twice with y), once for the sums and once for the product of a
batch, and one chunk of rows.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from lowbitc.compiler.elements import Array, Float64

_ROW_ELEMENTS_AT_ONCE = 1 << 21
_EXACT_IN_FLOAT32 = 1 << 24
_FEWEST_ROWS_WORTHWHILE = 1 << 10


class Moments:
    """Running sums over rows [M, G, K] of G groups of K inputs.

    Dense layers and plain convolutions have one group, a depthwise convolution one for each
    channel. A layer's own rows are its im2col columns.
    """

    __slots__ = ("count", "cross", "paired_sum", "second", "sum")

    count: int
    """Rows so far, M."""
    sum: Float64
    """Σ x [G, K]."""
    second: Float64
    """Σ x xᵀ [G, K, K], symmetric."""
    paired_sum: Float64
    """Σ y [G, K]; zeros unless paired."""
    cross: Float64
    """Σ y xᵀ [G, K, K] (rows: y, columns: x); empty unless paired."""

    def __init__(self, inputs: int, *, groups: int = 1, paired: bool = False) -> None:
        """Start at zero for K inputs in each group; ``paired`` when rows come with y."""
        self.count = 0
        self.sum = np.zeros((groups, inputs))
        self.second = np.zeros((groups, inputs, inputs))
        self.paired_sum = np.zeros((groups, inputs))
        self.cross = np.zeros((groups, inputs, inputs) if paired else (0, inputs, inputs))

    def add(self, rows: Array, paired_rows: Array | None = None) -> None:
        """Add rows [M, G, K], or [M, K] where there is one group.

        Rows of integer type go through float32 products where those are exact (4-bit levels
        always are), which is faster. Raises ValueError when y is missing or not expected.
        """
        if (paired_rows is not None) != bool(self.cross.size):
            message = "paired rows are given if and only if the moments are paired"
            raise ValueError(message)
        x = rows.reshape(-1, *self.sum.shape)
        y = None if paired_rows is None else paired_rows.reshape(x.shape)
        self.count += x.shape[0]
        step, dtype = _chunking(x, y)
        for start in range(0, x.shape[0], step):
            part = x[start : start + step].astype(dtype)
            other = None if y is None else y[start : start + step].astype(dtype)
            self.sum += part.sum(axis=0, dtype=np.float64)
            if other is not None:
                self.paired_sum += other.sum(axis=0, dtype=np.float64)
            for group in range(x.shape[1]):
                columns = np.ascontiguousarray(part[:, group])
                self.second[group] += columns.T @ columns
                if other is not None:
                    self.cross[group] += np.ascontiguousarray(other[:, group]).T @ columns

    def merge(self, other: Moments) -> None:
        """Add the sums of other moments of the same shape: exact where the sums are."""
        self.count += other.count
        self.sum += other.sum
        self.second += other.second
        self.paired_sum += other.paired_sum
        self.cross += other.cross

    def mean(self) -> Float64:
        """Give E[x] [G, K]; zeros before any row."""
        return self.sum / max(self.count, 1)

    def paired_mean(self) -> Float64:
        """Give E[y] [G, K]; zeros before any row."""
        return self.paired_sum / max(self.count, 1)

    def centred_second(self) -> Float64:
        """Give Σ (x - E x)(x - E x)ᵀ [G, K, K]."""
        return self.second - _outer(self.sum, self.mean())

    def centred_cross(self) -> Float64:
        """Give Σ (y - E y)(x - E x)ᵀ [G, K, K]; empty unless paired."""
        if not self.cross.size:
            return self.cross
        return self.cross - _outer(self.paired_sum, self.mean())


def on_grid(rows: Array, largest: float, bits: int = 16) -> Float64:
    """Round to multiples of the power of two that gives ``largest`` no more than ``bits`` bits.

    ``largest`` is a magnitude of the whole calibration set, not of a batch, so that the split
    does not matter. Larger magnitudes are clipped to it. Ties round to even. With signs
    included a product takes 2 · bits - 2 bits; at 16 bits 2^23 rows sum exactly in float64.
    """
    if largest <= 0:
        return np.zeros(rows.shape)
    top = (1 << (bits - 1)) - 1
    step = 2.0 ** (math.frexp(largest)[1] - bits + 1)
    levels = np.rint(np.asarray(rows, dtype=np.float64) / step)
    return np.clip(levels, -top, top) * step


def _outer(left: Float64, right: Float64) -> Float64:
    return left[:, :, np.newaxis] * right[:, np.newaxis, :]


def _chunking(x: Array, y: Array | None) -> tuple[int, type[np.float32 | np.float64]]:
    """Choose how many rows to multiply at once and in which type, so that sums are exact."""
    step = max(1, _ROW_ELEMENTS_AT_ONCE // max(x[0].size if len(x) else 1, 1))
    arrays = [x] if y is None else [x, y]
    if not all(np.issubdtype(a.dtype, np.integer) for a in arrays) or not x.size:
        return step, np.float64
    peak = max(max(abs(int(a.max())), abs(int(a.min()))) for a in arrays)
    exact = _EXACT_IN_FLOAT32 // max(peak * peak, 1)
    if exact < _FEWEST_ROWS_WORTHWHILE:
        return step, np.float64
    return min(step, exact), np.float32
