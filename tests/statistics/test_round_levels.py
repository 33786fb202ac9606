"""Rounding toward outputs: against brute force on small layers, and against nearest rounding."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
import pytest

from lowbitc.compiler.elements import I2, I4, ODD2, ODD4
from lowbitc.compiler.statistics.linear_systems import (
    factor_upper,
    multiply,
    solve_right,
    with_ridge,
)
from lowbitc.compiler.statistics.round_block import nearest
from lowbitc.compiler.statistics.round_levels import (
    Effort,
    descend,
    feed_back,
    polish,
    round_levels,
    row_errors,
)

if TYPE_CHECKING:
    from lowbitc.compiler.elements import Float64, LevelType

SEARCH = Effort(scales=(0.7, 0.85, 1.0, 1.15), rounds=3, sweeps=3)


def correlated(groups: int, inputs: int, seed: int = 0) -> Float64:
    """Return second moments of inputs that share causes."""
    random = np.random.default_rng(seed)
    mixing = random.normal(size=(groups, inputs, inputs)) + 1.5
    rows = np.maximum(random.normal(size=(groups, 400, inputs)) @ mixing, 0)
    raw = np.swapaxes(rows, 1, 2) @ rows / 400
    return with_ridge(raw, 400, np.diagonal(raw, axis1=1, axis2=2).mean(axis=1))


def weights_like(groups: int, rows: int, inputs: int, seed: int = 1) -> Float64:
    return np.random.default_rng(seed).normal(size=(groups, rows, inputs))


def least_error(weights: Float64, second: Float64, levels_type: LevelType) -> float:
    """Try every combination of levels, each with its best scale."""
    best = float(np.inf)
    for combination in itertools.product(levels_type.levels().tolist(), repeat=weights.size):
        levels = np.array(combination, np.float64)
        square, product, whole = (
            float(a @ second @ b)
            for a, b in ((levels, levels), (levels, weights), (weights, weights))
        )
        if product > 0:
            best = min(best, whole - product**2 / square)
    return best


@pytest.mark.parametrize("levels_type", [I2, ODD2])
def test_a_search_comes_close_to_the_best_of_all_levels(levels_type: LevelType) -> None:
    second, weights = correlated(12, 5), weights_like(12, 1, 5)
    found = round_levels(weights, second, factor_upper(second), (levels_type,), SEARCH)
    best = np.array([least_error(weights[g, 0], second[g], levels_type) for g in range(12)])
    assert (found.errors[:, 0] >= best * (1 - 1e-9)).all()
    assert found.errors.sum() <= 1.6 * best.sum()
    assert (found.errors[:, 0] <= best * (1 + 1e-9)).mean() >= 0.25


@pytest.mark.parametrize("levels_type", [I2, I4, ODD2, ODD4])
def test_error_feedback_beats_nearest_rounding(levels_type: LevelType) -> None:
    second, weights = correlated(1, 96), weights_like(1, 24, 96)
    scales = np.full((1, 24), 2.5 / levels_type.maximum)
    fed = feed_back(weights, scales, factor_upper(second), levels_type)
    plain = nearest(weights / scales[:, :, np.newaxis], levels_type)
    fed_error, plain_error = (
        row_errors(weights - v * scales[:, :, np.newaxis], second).sum() for v in (fed, plain)
    )
    assert fed_error < 0.5 * plain_error


def test_error_feedback_is_nearest_rounding_where_inputs_are_independent() -> None:
    weights = weights_like(2, 3, 70)
    second = np.stack([np.diag(np.linspace(1, 2, 70))] * 2)
    scales = np.full((2, 3), 0.3)
    fed = feed_back(weights, scales, factor_upper(second), I4)
    assert np.array_equal(fed, nearest(weights / 0.3, I4))


def test_coordinate_descent_never_makes_a_row_worse() -> None:
    second, weights = correlated(2, 80), weights_like(2, 5, 80)
    scales = np.full((2, 5), 0.8)
    start = nearest(weights / 0.8, ODD2)
    moved = descend(weights, start, scales, second, ODD2, 3)
    before, after = (row_errors(weights - v * 0.8, second) for v in (start, moved))
    assert (after <= before + 1e-9).all()
    assert after.sum() < 0.9 * before.sum()


def test_a_finished_descent_cannot_move_any_level() -> None:
    second, weights = correlated(1, 12), weights_like(1, 4, 12)
    scales = np.full((1, 4), 0.8)
    found = descend(weights, nearest(weights / 0.8, I2), scales, second, I2, 50)
    least = row_errors(weights - found * 0.8, second)
    for column in range(12):
        for level in I2.levels():
            other = found.copy()
            other[:, :, column] = level
            assert (row_errors(weights - other * 0.8, second) >= least - 1e-9).all()


def test_groups_are_rounded_as_if_each_were_alone() -> None:
    second, weights = correlated(4, 9), weights_like(4, 2, 9)
    together = round_levels(weights, second, factor_upper(second), (ODD2,), SEARCH)
    for group in range(4):
        part = slice(group, group + 1)
        alone = round_levels(
            weights[part], second[part], factor_upper(second[part]), (ODD2,), SEARCH
        )
        assert np.array_equal(alone.levels[0], together.levels[group])
        assert np.array_equal(alone.scales[0], together.scales[group])


def test_polishing_keeps_what_cannot_be_bettered() -> None:
    second, weights = correlated(1, 10), weights_like(1, 6, 10)
    start = round_levels(weights, second, factor_upper(second), (ODD2, I2), SEARCH)
    after = polish(weights, start, second, SEARCH)
    assert (after.errors <= start.errors * (1 + 1e-12)).all()


def test_the_alphabet_of_the_smaller_error_is_taken() -> None:
    second = correlated(1, 16)
    odd = np.random.default_rng(2).integers(-2, 2, (1, 4, 16)).astype(np.float64) * 2 + 1
    found = round_levels(odd, second, factor_upper(second), (I2, ODD2), Effort())
    assert found.levels_type is ODD2
    assert np.allclose(found.errors, 0.0, atol=1e-9)


@pytest.mark.parametrize("inputs", [3, 64, 65, 200])
def test_factors_and_solutions_are_those_of_linear_algebra(inputs: int) -> None:
    second, products = correlated(2, inputs), weights_like(2, 7, inputs)
    factor = factor_upper(second)
    assert np.array_equal(factor, np.triu(factor))
    assert np.allclose(factor @ np.swapaxes(factor, 1, 2), second, rtol=1e-10, atol=1e-9)
    solved = solve_right(products, factor)
    assert np.allclose(solved @ second, products, atol=1e-8)


def test_tiled_products_are_products() -> None:
    left, right = weights_like(2, 130, 300), weights_like(2, 300, 77)
    assert np.allclose(multiply(left, right), left @ right)
