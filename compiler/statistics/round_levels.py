"""Round weights to levels so that the outputs change least, not the weights.

For a layer y = W x the error of levels q at scales s is tr(E H Eᵀ) with E = W - s q and H the
second moments of the inputs. With H = V Vᵀ, V upper triangular, this is |E V|², and column m of
E V holds only the errors of columns up to m: so columns are rounded in order, each taking up the
errors made before it. That is the error feedback of OBQ and GPTQ (Frantar et al. 2022) without an
inverse. Coordinate descent (COMQ, arXiv 2403.07134) then moves single levels while that helps.

All arrays have G groups in front, solved side by side: one for dense layers and plain
convolutions, one a channel for depthwise ones. W is [G, O, K], H and V are [G, K, K], scales are
[G, O]. Rows (outputs) do not influence each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lowbitc.compiler.statistics import round_block
from lowbitc.compiler.statistics.linear_systems import multiply
from lowbitc.compiler.statistics.round_block import nearest
from lowbitc.compiler.statistics.weight_scales import fit_weights

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lowbitc.compiler.elements import Float64, LevelType

_BLOCK = 64


@dataclass(frozen=True, slots=True)
class Effort:
    """How hard to look: the same for every network.

    ``scales`` are tried as multiples of the scale of least weighted squared error; ``sweeps`` of
    coordinate descent follow for each of ``rounds`` refits of the scale. Without ``feedback``
    levels are the nearest ones, for comparison.
    """

    feedback: bool = True
    scales: tuple[float, ...] = (1.0,)
    rounds: int = 0
    sweeps: int = 1


@dataclass(frozen=True, slots=True, eq=False)
class Rounded:
    """Levels [G, O, K] (as float64), scales [G, O], and tr(E H Eᵀ) by row [G, O]."""

    levels_type: LevelType
    levels: Float64
    scales: Float64
    errors: Float64


def round_levels(
    weights: Float64,
    second: Float64,
    factor: Float64,
    allowed: tuple[LevelType, ...],
    effort: Effort,
) -> Rounded:
    """Round weights in one of the allowed alphabets, with the best of the scales, row by row.

    ``factor`` is the V of ``second``; see ``linear_systems.factor_upper``. The alphabet is the one
    of the smaller error at its scale of least weighted squared error.
    """
    if not effort.feedback:
        return _nearest_rows(weights, second, allowed)
    tried = [_at_base(weights, second, factor, levels_type) for levels_type in allowed]
    best = min(tried, key=lambda found: float(found.errors.sum()))
    base = _base_scales(weights, second, best.levels_type)
    for multiple in effort.scales:
        if multiple != 1.0:
            scales = base * multiple
            levels = feed_back(weights, scales, factor, best.levels_type)
            found = _refitted(weights, levels, scales, second, best.levels_type)
            best = better_rows(best, found)
    for _ in range(effort.rounds):
        levels = descend(weights, best.levels, best.scales, second, best.levels_type, effort.sweeps)
        found = _refitted(weights, levels, best.scales, second, best.levels_type)
        best = better_rows(best, found)
    return best


def _nearest_rows(weights: Float64, second: Float64, allowed: tuple[LevelType, ...]) -> Rounded:
    tried: list[Rounded] = []
    for levels_type in allowed:
        scales = _base_scales(weights, second, levels_type)
        levels = nearest(weights / scales[:, :, np.newaxis], levels_type)
        tried.append(_measured(weights, levels, scales, second, levels_type))
    return min(tried, key=lambda found: float(found.errors.sum()))


def _at_base(weights: Float64, second: Float64, factor: Float64, levels_type: LevelType) -> Rounded:
    scales = _base_scales(weights, second, levels_type)
    levels = feed_back(weights, scales, factor, levels_type)
    return _refitted(weights, levels, scales, second, levels_type)


def _base_scales(weights: Float64, second: Float64, levels_type: LevelType) -> Float64:
    """Return the scales of least squared error, weighted by the inputs' second moments."""
    groups, rows, inputs = weights.shape
    importance = np.repeat(np.diagonal(second, axis1=1, axis2=2), rows, axis=0)
    fit = fit_weights(weights.reshape(-1, inputs), levels_type, importance=importance)
    return fit.scales.reshape(groups, rows)


def polish(weights: Float64, start: Rounded, second: Float64, effort: Effort) -> Rounded:
    """Move levels and refit scales from a given start, for targets that changed a little."""
    best = _measured(weights, start.levels, start.scales, second, start.levels_type)
    for _ in range(max(effort.rounds, 1)):
        levels = descend(
            weights, best.levels, best.scales, second, start.levels_type, effort.sweeps
        )
        found = _refitted(weights, levels, best.scales, second, start.levels_type)
        best = better_rows(best, found)
    return best


def better_rows(first: Rounded, second: Rounded) -> Rounded:
    """Take each row from the one with the smaller error; a tie goes to the first."""
    take = second.errors < first.errors
    return Rounded(
        first.levels_type,
        np.where(take[:, :, np.newaxis], second.levels, first.levels),
        np.where(take, second.scales, first.scales),
        np.where(take, second.errors, first.errors),
    )


def feed_back(
    weights: Float64, scales: Float64, factor: Float64, levels_type: LevelType
) -> Float64:
    """Round column by column, each taking up the errors of those before it; return levels."""
    columns, given = _columns_first(weights), np.ascontiguousarray(factor)
    levels, errors = np.empty_like(columns), np.zeros_like(columns)
    backward, steps = np.swapaxes(given, 1, 2), np.ascontiguousarray(scales)
    for block in _blocks(weights.shape[2]):
        known = multiply(backward[:, block, : block.start], errors[:, : block.start])
        carried = np.ascontiguousarray(known)
        round_block.feed_back((columns, given, steps, carried, levels, errors), block, levels_type)
    return _columns_last(levels)


def descend(
    weights: Float64,
    levels: Float64,
    scales: Float64,
    second: Float64,
    levels_type: LevelType,
    sweeps: int,
) -> Float64:
    """Set one level at a time to its best value given the others, column after column."""
    chosen = _columns_first(levels)
    errors = _columns_first(weights - levels * scales[:, :, np.newaxis])
    system, steps = np.ascontiguousarray(second), np.ascontiguousarray(scales)
    slope = np.ascontiguousarray(multiply(system, errors))
    for _ in range(sweeps):
        moved = False
        for block in _blocks(weights.shape[2]):
            changes = np.zeros((len(slope), block.stop - block.start, slope.shape[2]))
            arrays = (system, steps, slope, chosen, changes)
            if not round_block.descend(arrays, block, levels_type):
                continue
            moved = True
            before, behind = slice(0, block.start), slice(block.stop, None)
            slope[:, before] += multiply(system[:, before, block], changes)
            slope[:, behind] += multiply(system[:, behind, block], changes)
        if not moved:
            break
    return _columns_last(chosen)


def _blocks(inputs: int) -> Iterator[slice]:
    for start in range(0, inputs, _BLOCK):
        yield slice(start, min(start + _BLOCK, inputs))


def _columns_first(rows: Float64) -> Float64:
    """Return [G, K, O] of [G, O, K], so that a column lies in one piece."""
    return np.ascontiguousarray(np.swapaxes(rows, 1, 2))


def _columns_last(columns: Float64) -> Float64:
    return np.ascontiguousarray(np.swapaxes(columns, 1, 2))


def row_errors(errors: Float64, second: Float64) -> Float64:
    """Return diag(E H Eᵀ) [G, O]."""
    return np.asarray((multiply(errors, second) * errors).sum(axis=2))


def _refitted(
    weights: Float64,
    levels: Float64,
    scales: Float64,
    second: Float64,
    levels_type: LevelType,
) -> Rounded:
    """Fit the scale to the levels: s = q H w / q H q, where that is positive."""
    pulled = multiply(levels, second)
    products = (pulled * weights).sum(axis=2)
    squares = (pulled * levels).sum(axis=2)
    fits = (products > 0) & (squares > 0)
    fitted = np.where(fits, products / np.where(fits, squares, 1.0), scales)
    return _measured(weights, levels, fitted, second, levels_type)


def _measured(
    weights: Float64,
    levels: Float64,
    scales: Float64,
    second: Float64,
    levels_type: LevelType,
) -> Rounded:
    errors = row_errors(weights - levels * scales[:, :, np.newaxis], second)
    return Rounded(levels_type, levels, scales, errors)
