"""Factor and solve the systems of layer inputs: H + λI = V Vᵀ, V upper triangular."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from lowbitc.compiler.elements import Float64

_FIXED_SHARE = 0.05
_FLOOR = 1e-12


def with_ridge(second: Float64, rows: int) -> Float64:
    """Add λ = (0.05 + K/M) · mean diagonal to H [G, K, K] made from M rows.

    K/M stands for what M rows cannot tell about K inputs; without it a dense layer behind a
    global pool fits its few calibration samples and nothing else.
    """
    inputs = second.shape[1]
    mean = np.diagonal(second, axis1=1, axis2=2).mean(axis=1)
    largest = mean.max(initial=0.0)
    share = _FIXED_SHARE + inputs / max(rows, 1)
    ridge = share * mean + _FLOOR * (largest if largest > 0 else 1.0)
    return second + ridge[:, np.newaxis, np.newaxis] * np.eye(inputs)


def factor_upper(second: Float64) -> Float64:
    """Return V with V Vᵀ = H: the Cholesky factor of H with rows and columns reversed."""
    turned = np.linalg.cholesky(second[:, ::-1, ::-1])
    return np.ascontiguousarray(turned[:, ::-1, ::-1])


def solve_right(products: Float64, second: Float64) -> Float64:
    """Return products · H⁻¹, [G, O, K]."""
    return np.swapaxes(np.linalg.solve(second, np.swapaxes(products, 1, 2)), 1, 2)
