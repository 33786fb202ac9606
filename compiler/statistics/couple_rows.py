"""Round the rows of a layer's weights so that their errors cancel in the network's outputs.

Where the loss has second derivatives G over a layer's outputs (K-FAC: Martens and Grosse 2015), the
errors E of its weights cost tr(G E H Eᵀ), not tr(E H Eᵀ): an error of one output can be made up for
by others. With G = V Vᵀ, V upper triangular, a block of rows of Vᵀ E holds only its own errors and
those of the blocks before it: so blocks are rounded in order, each toward its weights plus what the
errors before it ask for. That is error feedback over outputs, beside the one over inputs (YAQA,
arXiv 2505.22988). Within a block rows are taken as independent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lowbitc.compiler.statistics.linear_systems import factor_upper, multiply, solve_right
from lowbitc.compiler.statistics.round_levels import (
    Effort,
    Rounded,
    polish,
    round_levels,
    row_errors,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lowbitc.compiler.elements import Float64, LevelType

_BLOCKS = 8


def uncouple_empty(coupling: Float64, weights: Float64) -> Float64:
    """Return G [O, O] in which rows of W [O, K] that hold zeros alone stand apart.

    Such an output is its bias, exactly; it would lose that in making up for others.
    """
    held = np.asarray(weights.any(axis=1))
    apart = np.where(held[:, np.newaxis] & held, coupling, 0.0)
    np.fill_diagonal(apart, np.diagonal(coupling))
    return apart


def round_coupled(
    weights: Float64,
    second: Float64,
    factor: Float64,
    allowed: tuple[LevelType, ...],
    effort: Effort,
    coupling: Float64,
) -> Rounded:
    """Do as ``round_levels`` does, for W [1, O, K] whose outputs are coupled by G [O, O].

    Rows that count most come first, as later ones make up for them.
    """
    order = np.argsort(-np.diagonal(coupling), kind="stable")
    rows = weights[:, order]
    upper = factor_upper(coupling[np.newaxis, order][:, :, order])
    errors = np.zeros_like(rows)
    found: list[Rounded] = []
    for block in _blocks(rows.shape[1]):
        above = upper[:, : block.start, block]
        carried = multiply(np.swapaxes(above, 1, 2), errors[:, : block.start])
        # Vᵀ e = -carried in the block's own triangle: e = -(V Vᵀ)⁻¹ V carried.
        own = upper[:, block, block]
        pulled = np.swapaxes(multiply(own, carried), 1, 2)
        target = rows[:, block] + np.swapaxes(solve_right(pulled, own), 1, 2)
        rounded = round_levels(target, second, factor, allowed, effort)
        errors[:, block] = rows[:, block] - _real(rounded)
        allowed = (rounded.levels_type,)
        found.append(rounded)
    back = np.argsort(order, kind="stable")
    levels = np.concatenate([part.levels for part in found], axis=1)[:, back]
    scales = np.concatenate([part.scales for part in found], axis=1)[:, back]
    return _measured(weights, levels, scales, second, allowed[0])


def polish_coupled(
    weights: Float64, start: Rounded, second: Float64, effort: Effort, coupling: Float64
) -> Rounded:
    """Do as ``polish`` does, block after block, each given the errors of all others.

    A block is left as it is where moving its rows each for itself would cost them together more.
    """
    levels, scales = start.levels.copy(), start.scales.copy()
    errors = weights - _real(start)
    for block in _blocks(weights.shape[1]):
        others = coupling[np.newaxis, block].copy()
        others[:, :, block] = 0
        own = coupling[np.newaxis, block, block]
        pulled = np.swapaxes(multiply(others, errors), 1, 2)
        shift = np.swapaxes(solve_right(pulled, factor_upper(own)), 1, 2)
        target = weights[:, block] + shift
        begun = Rounded(
            start.levels_type, levels[:, block], scales[:, block], start.errors[:, block]
        )
        found = polish(target, begun, second, effort)
        before, after = (_cost(target - _real(held), own, second) for held in (begun, found))
        if after < before:
            levels[:, block], scales[:, block] = found.levels, found.scales
            errors[:, block] = weights[:, block] - _real(found)
    return _measured(weights, levels, scales, second, start.levels_type)


def _cost(errors: Float64, coupling: Float64, second: Float64) -> float:
    """Return tr(G E H Eᵀ)."""
    return float((multiply(multiply(coupling, errors), second) * errors).sum())


def _real(rounded: Rounded) -> Float64:
    return rounded.levels * rounded.scales[:, :, np.newaxis]


def _measured(
    weights: Float64, levels: Float64, scales: Float64, second: Float64, levels_type: LevelType
) -> Rounded:
    errors = row_errors(weights - levels * scales[:, :, np.newaxis], second)
    return Rounded(levels_type, levels, scales, errors)


def _blocks(rows: int) -> Iterator[slice]:
    size = -(-rows // _BLOCKS)
    for start in range(0, rows, size):
        yield slice(start, min(start + size, rows))
