"""Rounding rows together: less error in the network's outputs, the same where rows stand alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from lowbitc.compiler.elements import I2, I4, ODD2
from lowbitc.compiler.statistics.couple_rows import (
    polish_coupled,
    round_coupled,
    uncouple_empty,
)
from lowbitc.compiler.statistics.linear_systems import factor_upper, with_ridge
from lowbitc.compiler.statistics.round_levels import Effort, Rounded, polish, round_levels

if TYPE_CHECKING:
    from lowbitc.compiler.elements import Float64, LevelType

ROWS, INPUTS = 24, 32
EFFORT = Effort(scales=(0.8, 1.0, 1.2), rounds=2, sweeps=2)


def moments(size: int, seed: int) -> Float64:
    """Return second moments of values that share causes, [1, size, size]."""
    random = np.random.default_rng(seed)
    rows = random.normal(size=(400, size)) @ (random.normal(size=(size, size)) + 0.5)
    raw = (rows.T @ rows / 400)[np.newaxis]
    return with_ridge(raw, 400, np.diagonal(raw, axis1=1, axis2=2).mean(axis=1))


def weights() -> Float64:
    return np.random.default_rng(2).normal(size=(1, ROWS, INPUTS))


def cost(found: Rounded, second: Float64, coupling: Float64) -> float:
    """Return tr(G E H Eᵀ)."""
    errors = (weights() - found.levels * found.scales[:, :, np.newaxis])[0]
    return float(np.trace(coupling @ errors @ second[0] @ errors.T))


@pytest.mark.parametrize("allowed", [(I4,), (ODD2, I2)])
def test_coupled_rows_cost_the_outputs_less(allowed: tuple[LevelType, ...]) -> None:
    second, coupling = moments(INPUTS, 0), moments(ROWS, 1)[0]
    system = (second, factor_upper(second), allowed, EFFORT)
    alone = round_levels(weights(), *system)
    together = round_coupled(weights(), *system, coupling)
    assert cost(together, second, coupling) < 0.8 * cost(alone, second, coupling)
    polished = polish_coupled(weights(), together, second, EFFORT, coupling)
    assert cost(polished, second, coupling) <= cost(together, second, coupling)
    assert set(np.unique(polished.levels)) <= set(polished.levels_type.levels())


def test_rows_that_are_not_coupled_are_rounded_alone() -> None:
    second, coupling = moments(INPUTS, 0), np.diag(np.linspace(1, 2, ROWS))
    system = (second, factor_upper(second), (I4,), EFFORT)
    alone = round_levels(weights(), *system)
    together = round_coupled(weights(), *system, coupling)
    assert np.array_equal(alone.levels, together.levels)
    assert np.allclose(alone.scales, together.scales)
    moved = weights() * 1.02
    ends = (
        polish(moved, alone, second, EFFORT),
        polish_coupled(moved, alone, second, EFFORT, coupling),
    )
    assert np.array_equal(ends[0].levels, ends[1].levels)


def test_all_rows_of_a_layer_have_one_alphabet() -> None:
    second, coupling = moments(INPUTS, 0), moments(ROWS, 1)[0]
    found = round_coupled(weights(), second, factor_upper(second), (ODD2, I2), EFFORT, coupling)
    assert found.levels_type in {ODD2, I2}
    assert set(np.unique(found.levels)) <= set(found.levels_type.levels())


def test_an_output_without_weights_makes_up_for_nothing() -> None:
    coupling = np.array([[2.0, 0.5, 0.3], [0.5, 1.0, 0.4], [0.3, 0.4, 1.5]])
    weights = np.array([[1.0, -2.0], [0.0, 0.0], [0.5, 0.0]])
    apart = uncouple_empty(coupling, weights)
    assert apart.tolist() == [[2.0, 0.0, 0.3], [0.0, 1.0, 0.0], [0.3, 0.0, 1.5]]
