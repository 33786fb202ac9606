"""Weight scales: the optimum where it is promised, and never a channel that disturbs another."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lowbitc.compiler.elements import I1, I2, I4, I8, ODD1, ODD2, ODD4, U4, Alphabet, LevelType
from lowbitc.compiler.statistics.weight_scales import (
    fit_best_alphabet,
    fit_weights,
    fit_with_scales,
    nearest_levels,
)

if TYPE_CHECKING:
    import numpy.typing as npt

    Weights = npt.NDArray[np.float32]

ALL_LEVELS = (I1, I2, I4, I8, ODD1, ODD2, ODD4)
level_types = st.sampled_from(ALL_LEVELS)
ODD8 = LevelType(Alphabet.ODD, 8)
element = st.floats(-4, 4, width=32).filter(lambda v: v == 0 or abs(v) > 1e-3)


def matrices(rows: int, columns: int) -> st.SearchStrategy[Weights]:
    shapes = st.tuples(st.integers(1, rows), st.integers(1, columns))
    return hnp.arrays(np.float32, shapes, elements=element)


def brute_force_error(row: Weights, importance: Weights, levels: LevelType) -> float:
    """Try every assignment of levels, each at its own best positive scale."""
    w, h = row.astype(np.float64), importance.astype(np.float64)
    least = float((h * w * w).sum())
    for choice in itertools.product(levels.levels().tolist(), repeat=w.size):
        q = np.array(choice, np.float64)
        product, square = float((h * w * q).sum()), float((h * q * q).sum())
        if product > 0:
            least = min(least, float((h * w * w).sum()) - product * product / square)
    return least


@given(matrices(1, 4), st.sampled_from((I1, I2, ODD1, ODD2)), st.data())
def test_the_squared_error_is_the_least_there_is(
    weights: Weights, levels: LevelType, data: st.DataObject
) -> None:
    heights = st.floats(0.125, 8, width=32)
    importance = data.draw(hnp.arrays(np.float32, weights.shape[1], elements=heights))
    found = fit_weights(weights, levels, importance=importance)
    if weights.any():
        energy = float((importance * weights.astype(np.float64) ** 2).sum())
        least = brute_force_error(weights[0], importance, levels)
        assert abs(found.errors[0] - least) <= 1e-9 * energy


@pytest.mark.parametrize("levels", ALL_LEVELS, ids=lambda t: t.name)
@pytest.mark.parametrize("columns", [9, 700])
def test_no_scale_of_a_dense_grid_does_better(levels: LevelType, columns: int) -> None:
    weights = np.random.default_rng(7).laplace(size=(3, columns))
    found = fit_weights(weights, levels)
    slack = 1.05 if columns * levels.maximum > 4096 else 1 + 1e-12
    for fraction in np.linspace(0.2, 3.0, 400):
        other = fit_with_scales(weights, found.scales * fraction, levels)
        assert (found.errors <= other.errors * slack).all()


@given(matrices(5, 12), level_types, st.sampled_from([2.0, 2.4]), st.randoms())
def test_permuting_channels_permutes_the_fit(
    weights: Weights, levels: LevelType, norm: float, random: st.DrawFn
) -> None:
    order = list(range(weights.shape[0]))
    getattr(random, "shuffle")(order)  # noqa: B009 - hypothesis gives a random.Random
    here = fit_weights(weights, levels, norm=norm)
    there = fit_weights(weights[order], levels, norm=norm)
    assert np.array_equal(here.scales[order], there.scales)
    assert np.array_equal(here.levels[order], there.levels)
    assert np.array_equal(here.errors[order], there.errors)


@given(matrices(3, 12), level_types, st.sampled_from([2.0, 2.4]), st.integers(-30, 30))
def test_powers_of_two_scale_the_scales_exactly(
    weights: Weights, levels: LevelType, norm: float, exponent: int
) -> None:
    here = fit_weights(weights, levels, norm=norm)
    there = fit_weights(np.ldexp(weights, exponent), levels, norm=norm)
    assert np.array_equal(here.levels, there.levels)
    changing = here.levels.any(axis=1) & weights.any(axis=1)
    assert np.array_equal(np.ldexp(here.scales[changing], exponent), there.scales[changing])


@given(matrices(4, 12), level_types)
def test_levels_belong_to_the_alphabet_and_scales_are_positive(
    weights: Weights, levels: LevelType
) -> None:
    found = fit_weights(weights, levels)
    assert found.levels.dtype == np.int8
    assert np.isin(found.levels, levels.levels()).all()
    assert (found.scales > 0).all()
    assert np.array_equal(found.levels, nearest_levels(weights, found.scales, levels))


@given(matrices(3, 10), level_types)
def test_the_error_is_that_of_scale_times_levels(weights: Weights, levels: LevelType) -> None:
    found = fit_weights(weights, levels)
    gap = weights.astype(np.float64) - found.scales[:, np.newaxis] * found.levels
    assert np.allclose(found.errors, np.square(gap).sum(axis=1), rtol=1e-9, atol=1e-30)


@pytest.mark.parametrize("levels", [I2, I4, I8, ODD2, ODD4], ids=lambda t: t.name)
def test_weights_on_the_levels_are_kept_exactly(levels: LevelType) -> None:
    weights = np.tile(levels.levels().astype(np.float64) * 0.375, (2, 30))
    found = fit_weights(weights, levels)
    assert found.errors.max() < 1e-20
    assert np.allclose(found.scales, 0.375, rtol=1e-12)


def test_one_bit_has_the_mean_magnitude_as_its_scale() -> None:
    weights = np.random.default_rng(8).standard_normal((4, 33))
    found = fit_weights(weights, ODD1)
    assert np.allclose(found.scales, np.abs(weights).mean(axis=1), rtol=1e-14)
    assert np.array_equal(found.levels, np.sign(weights))


def test_gaussian_errors_at_two_and_four_bits_are_the_known_ones() -> None:
    weights = np.random.default_rng(9).standard_normal((1, 400_000))
    energy = float(np.square(weights).sum())
    for levels, known in ((ODD2, 0.1188), (ODD4, 0.01154)):
        assert abs(fit_weights(weights, levels).errors[0] / energy / known - 1) < 0.01


def test_a_higher_norm_holds_on_to_large_weights() -> None:
    weights = np.random.default_rng(10).laplace(size=(8, 300))
    assert (fit_weights(weights, I4, norm=2.4).scales > fit_weights(weights, I4).scales).all()


def test_importance_draws_the_scale_to_the_weights_that_matter() -> None:
    weights = np.array([[1.0, 0.37, -0.9, 0.11]])
    found = fit_weights(weights, I2, importance=np.array([0.0, 1.0, 0.0, 0.0]))
    assert found.scales[0] * found.levels[0, 1] == pytest.approx(0.37, rel=1e-12)


def test_importance_that_vanishes_on_a_row_is_left_out() -> None:
    weights = np.array([[0.0, 1.5, 0.4]])
    found = fit_weights(weights, ODD2, importance=np.array([1.0, 0.0, 0.0]))
    assert np.array_equal(found.scales, fit_weights(weights, ODD2).scales)


def test_channels_of_zeros_are_harmless() -> None:
    weights = np.array([[0.0, -0.0], [1.0, -3.0]])
    even, odd_levels = fit_weights(weights, I4), fit_weights(weights, ODD2)
    assert (even.scales[0], even.levels[0].tolist()) == (1.0, [0, 0])
    assert odd_levels.levels[0].tolist() == [1, 1]
    assert odd_levels.scales[0] == odd_levels.scales[1] * 2.0**-24
    assert fit_weights(weights[:1], ODD2).scales[0] == 2.0**-24


def test_ties_round_to_even_in_two_s_complement_and_outwards_in_odd_levels() -> None:
    weights = np.array([[0.5, 1.5, -0.5, 2.0, -2.0, 0.0, -0.0]])
    one = np.ones(1)
    assert nearest_levels(weights, one, I4).tolist() == [[0, 2, 0, 2, -2, 0, 0]]
    assert nearest_levels(weights, one, ODD2).tolist() == [[1, 1, -1, 3, -3, 1, 1]]


def test_the_better_alphabet_is_chosen_by_its_error() -> None:
    dense = np.array([[-3.0, -1.0, 1.0, 3.0]])
    sparse = np.array([[0.0, 1.0, -2.0, 0.0]])
    assert fit_best_alphabet(dense, 2).levels_type == ODD2
    assert fit_best_alphabet(sparse, 2).levels_type == I2
    assert fit_best_alphabet(np.zeros((1, 3)), 2).levels_type == I2
    assert fit_best_alphabet(dense, 8).levels_type == I8


@pytest.mark.parametrize("levels", [U4, ODD8], ids=lambda t: t.name)
def test_levels_that_weights_cannot_have_are_refused(levels: LevelType) -> None:
    with pytest.raises(ValueError, match=f"{levels.name} levels; allowed"):
        fit_weights(np.ones((1, 2)), levels)


def test_weights_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ValueError, match="not finite"):
        fit_weights(np.array([[1.0, np.nan]]), I4)
