"""Products, factors and solutions that are the same whatever the number of threads.

BLAS and LAPACK add in another order on another number of threads, and a rounding decision can
hang on the last bit. A product of matrices small enough is left on one thread by OpenBLAS (at
most 2^18 multiplications), so larger ones are cut into tiles of that size, and factors and
solutions are built from tiles. What is exact anyway (sums of integer levels) does not need this.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lowbitc.compiler.elements import Float64

_TILE = 64
_ONE_THREAD = 1 << 18
_FIXED_SHARE = 0.05
_FLOOR = 1e-6


def with_ridge(second: Float64, rows: int, power: Float64, times: float = 1.0) -> Float64:
    """Add λ = ``times`` · (0.05 + K/M) · mean diagonal to centred H [G, K, K] made from M rows.

    K/M stands for what M rows cannot tell about K inputs; without it a dense layer behind a
    global pool fits its few calibration samples and nothing else. ``power`` [G] is the mean square
    of the inputs before they were centred: constant inputs have no H, and λ is a share of it.
    """
    inputs = second.shape[1]
    mean = np.diagonal(second, axis1=1, axis2=2).mean(axis=1)
    ridge = ridge_of(mean, inputs, rows, power, times)
    return np.asarray(second + ridge[:, np.newaxis, np.newaxis] * np.eye(inputs))


def ridge_of(mean: Float64, inputs: int, rows: int, power: Float64, times: float = 1.0) -> Float64:
    """Return the λ [G] of ``with_ridge``, from the mean diagonal of H."""
    share = times * (_FIXED_SHARE + inputs / max(rows, 1))
    return np.asarray(share * mean + _FLOOR * np.where(power > 0, power, 1.0))


def multiply(left: Float64, right: Float64) -> Float64:
    """Return left · right for stacks [G, M, K] and [G, K, N]."""
    groups, rows, inner = left.shape
    columns = right.shape[2]
    if rows * inner * columns <= _ONE_THREAD:
        return left @ right
    high, wide = min(_TILE, rows), min(_TILE, columns)
    deep = min(_ONE_THREAD // (high * wide), inner)
    a = _tiles(left, high, deep)
    b = _tiles(right, deep, wide)
    total = np.zeros((groups, a.shape[1], b.shape[2], high, wide))
    for index in range(a.shape[2]):
        total += a[:, :, index, np.newaxis] @ b[:, index, np.newaxis]
    joined = np.swapaxes(total, 2, 3).reshape(groups, a.shape[1] * high, -1)
    return joined[:, :rows, :columns]


def factor_upper(second: Float64) -> Float64:
    """Return V, upper triangular, with V Vᵀ = H: Cholesky from the last column to the first."""
    inputs = second.shape[1]
    factor = np.zeros_like(second)
    for block in reversed(list(_blocks(inputs))):
        above, behind = slice(0, block.stop), slice(block.stop, inputs)
        known = np.swapaxes(factor[:, block, behind], 1, 2)
        rest = second[:, above, block] - multiply(factor[:, above, behind], known)
        corner = _small_factor(rest[:, block])
        factor[:, block, block] = corner
        inverse = _inverse(corner)
        factor[:, : block.start, block] = multiply(
            rest[:, : block.start], np.swapaxes(inverse, 1, 2)
        )
    return factor


def solve_right(products: Float64, factor: Float64) -> Float64:
    """Return products · (V Vᵀ)⁻¹, [G, O, K]."""
    blocks = list(_blocks(factor.shape[1]))
    inverses = [_inverse(factor[:, block, block]) for block in blocks]
    half = np.zeros_like(products)
    for block, inverse in zip(reversed(blocks), reversed(inverses), strict=True):
        later = slice(block.stop, factor.shape[1])
        known = multiply(half[:, :, later], np.swapaxes(factor[:, block, later], 1, 2))
        half[:, :, block] = multiply(products[:, :, block] - known, np.swapaxes(inverse, 1, 2))
    found = np.zeros_like(products)
    for block, inverse in zip(blocks, inverses, strict=True):
        earlier = slice(0, block.start)
        known = multiply(found[:, :, earlier], factor[:, earlier, block])
        found[:, :, block] = multiply(half[:, :, block] - known, inverse)
    return found


def _inverse(corner: Float64) -> Float64:
    return np.asarray(np.linalg.inv(corner), np.float64)


def _small_factor(second: Float64) -> Float64:
    turned = np.linalg.cholesky(second[:, ::-1, ::-1])
    return np.ascontiguousarray(turned[:, ::-1, ::-1], np.float64)


def _blocks(inputs: int) -> Iterator[slice]:
    for start in range(0, inputs, _TILE):
        yield slice(start, min(start + _TILE, inputs))


def _tiles(matrices: Float64, high: int, wide: int) -> Float64:
    """See [G, M, N] as tiles [G, M/high, N/wide, high, wide], filled up with zeros.

    BLAS reads tiles where they stand; copied in one piece they would only cost time.
    """
    groups, rows, columns = matrices.shape
    down, across = -(-rows // high), -(-columns // wide)
    padded = matrices
    if (down * high, across * wide) != (rows, columns):
        padded = np.zeros((groups, down * high, across * wide))
        padded[:, :rows, :columns] = matrices
    return np.swapaxes(padded.reshape(groups, down, high, across, wide), 2, 3)
