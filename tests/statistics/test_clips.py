"""Clips: the error promised is the error met, and no other scale does better."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lowbitc.compiler.elements import I1, I2, I4, I8, ODD2, U1, U2, U4, U8, LevelType
from lowbitc.compiler.statistics.clips import (
    Clip,
    clip_at,
    clip_min_max,
    clip_mse,
    clip_octav,
    clip_percentile,
)
from lowbitc.compiler.statistics.expected_error import clipping_errors, squared_errors
from lowbitc.compiler.statistics.histogram import histogram

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from lowbitc.compiler.statistics.histogram import Histogram

    Values = npt.NDArray[np.float32]

ALL_LEVELS = (U1, U2, U4, U8, I1, I2, I4, I8)
METHODS = (clip_min_max, clip_percentile, clip_mse, clip_octav)
level_types = st.sampled_from(ALL_LEVELS)
few_values = hnp.arrays(
    np.float32,
    st.integers(1, 30),
    elements=st.floats(-100, 100, width=32).filter(lambda v: v == 0 or abs(v) > 1e-6),
)


def gauss(count: int = 200_000) -> Values:
    return np.random.default_rng(3).standard_normal(count, dtype=np.float32)


def true_error(values: Values, scale: float, levels: LevelType) -> float:
    exact = values.astype(np.float64)
    nearest = np.clip(np.rint(exact / scale), levels.minimum, levels.maximum)
    return float(np.square(exact - nearest * scale).mean())


@pytest.mark.parametrize("levels", ALL_LEVELS, ids=lambda t: t.name)
@pytest.mark.parametrize("shape", ["gauss", "relu", "relu6", "laplace"])
def test_the_expected_error_is_the_error_met(shape: str, levels: LevelType) -> None:
    values = {
        "gauss": gauss(),
        "relu": np.maximum(gauss(), 0),
        "relu6": np.clip(4 * gauss(), 0, 6),
        "laplace": np.random.default_rng(4).laplace(size=200_000).astype(np.float32),
    }[shape]
    found = histogram(values)
    for fraction in (1.0, 0.61, 0.2):
        scale = clip_min_max(found, levels).scale * fraction
        expected = squared_errors(found, np.array([scale]), levels)[0]
        assert math.isclose(expected, true_error(values, scale, levels), rel_tol=5e-3)


@settings(derandomize=True)
@given(few_values, level_types, st.floats(0.02, 1.0))
def test_no_clip_up_to_min_max_beats_the_mse_clip(
    values: Values, levels: LevelType, fraction: float
) -> None:
    found = histogram(values)
    whole, best = clip_min_max(found, levels), clip_mse(found, levels)
    assert best.relative_error <= whole.relative_error
    other = clip_at(found, levels, whole.scale * fraction)
    # Few values make a jagged error: the search may sit one tooth beside the lowest.
    tooth = 0.3 if levels.bits == 8 else 0.05
    assert best.relative_error <= other.relative_error * (1 + tooth) + 1e-6


@pytest.mark.parametrize("levels", ALL_LEVELS, ids=lambda t: t.name)
def test_on_many_values_the_mse_clip_beats_a_dense_grid(levels: LevelType) -> None:
    found = histogram(gauss())
    whole, best = clip_min_max(found, levels), clip_mse(found, levels)
    grid = squared_errors(found, whole.scale * np.linspace(0.01, 1.0, 500), levels)
    assert best.relative_error * found.mean_square() <= grid.min() * (1 + 1e-4)


def test_mse_clips_of_a_gaussian_are_the_known_ones() -> None:
    found = histogram(gauss(2_000_000))
    # Unsigned levels see half the Gaussian: 0 and alpha at 1 bit are the ternary grid.
    assert math.isclose(clip_mse(found, U1).alpha, 1.224, rel_tol=0.01)
    assert math.isclose(clip_mse(found.rectified(), U1).alpha, 1.224, rel_tol=0.01)


@given(few_values, level_types, st.integers(-20, 20), st.sampled_from(METHODS))
def test_powers_of_two_scale_every_clip_exactly(
    values: Values,
    levels: LevelType,
    exponent: int,
    method: Callable[[Histogram, LevelType], Clip],
) -> None:
    here = method(histogram(values), levels)
    there = method(histogram(np.ldexp(values, exponent)), levels)
    assert there.relative_error == here.relative_error
    assert there.clipped_share == here.clipped_share
    if here.relative_error != 1 and values.any():
        assert there.scale == math.ldexp(here.scale, exponent)


@given(few_values, level_types)
@example(np.array([59.25], np.float32), I4)  # 7 times a seventh of it is less than it
def test_min_max_clips_nothing_that_has_a_sign_in_the_levels(
    values: Values, levels: LevelType
) -> None:
    clip = clip_min_max(histogram(values), levels)
    lost = (values > 0) if not levels.maximum else (values < 0) if not levels.minimum else None
    share = 0.0 if lost is None else float(lost.mean())
    assert math.isclose(clip.clipped_share, share, abs_tol=1e-12)
    assert clip.alpha == clip.scale * max(levels.maximum, -levels.minimum)


@pytest.mark.parametrize("share", [0.9, 0.99, 0.9999])
def test_the_percentile_clip_leaves_the_share_inside(share: float) -> None:
    values = gauss()
    clip = clip_percentile(histogram(values), I8, share)
    top, bottom = clip.scale * 127, clip.scale * -128
    inside = float(((values <= top) & (values >= bottom)).mean())
    assert math.isclose(inside, share, abs_tol=2e-4)
    assert clip.clipped_share <= 1 - share + 1e-12


def test_a_percentile_of_one_is_min_max() -> None:
    found = histogram(gauss())
    assert clip_percentile(found, U4, 1.0) == clip_min_max(found, U4)


def test_octav_comes_close_to_the_mse_clip_at_four_and_eight_bits() -> None:
    found = histogram(np.maximum(gauss(), 0))
    for levels in (U4, U8):
        assert (
            clip_octav(found, levels).relative_error < 1.01 * clip_mse(found, levels).relative_error
        )


def test_octav_is_a_fixed_point_of_its_equation() -> None:
    values = np.abs(np.random.default_rng(5).laplace(size=300_000)).astype(np.float32)
    alpha = clip_octav(histogram(values), U4).alpha
    beyond = values > alpha
    count = float(beyond.sum())
    expected = values[beyond].sum() / (0.25**4 / 12 * (values.size - count) + count)
    assert math.isclose(alpha, expected, rel_tol=1e-3)


def test_octav_does_not_see_exact_zeros() -> None:
    values = np.maximum(gauss(), 0)
    sparse = np.concatenate((values, np.zeros(values.size * 9, np.float32)))
    assert clip_octav(histogram(sparse), U4).alpha == clip_octav(histogram(values), U4).alpha


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("levels", ALL_LEVELS, ids=lambda t: t.name)
def test_zeros_alone_get_scale_one_and_no_error(
    method: Callable[[Histogram, LevelType], Clip], levels: LevelType
) -> None:
    for values in (np.zeros(5), np.zeros(0)):
        clip = method(histogram(values), levels)
        assert (clip.scale, clip.relative_error, clip.clipped_share) == (1.0, 0.0, 0.0)


@pytest.mark.parametrize("levels", [U1, U2, U4, U8])
def test_a_constant_is_kept_exactly(levels: LevelType) -> None:
    for count in (1, 5000):
        clip = clip_mse(histogram(np.full(count, 3.3)), levels)
        assert math.isclose(clip.alpha, float(np.float32(3.3)), rel_tol=1e-15)
        assert clip.relative_error < 1e-30


@pytest.mark.parametrize("method", METHODS)
def test_negative_values_are_lost_to_unsigned_levels(
    method: Callable[[Histogram, LevelType], Clip],
) -> None:
    clip = method(histogram(np.array([-1.0, -2.0])), U4)
    assert (clip.scale, clip.relative_error, clip.clipped_share) == (1.0, 1.0, 1.0)


def test_two_s_complement_uses_its_longer_negative_side() -> None:
    assert clip_min_max(histogram(np.array([-8.0, 3.0])), I4).scale == 1.0
    assert clip_min_max(histogram(np.array([-3.0, 7.0])), I4).scale == 1.0


def test_pixels_at_eight_bits_cost_nothing() -> None:
    pixels = np.tile(np.arange(256, dtype=np.float32) / np.float32(255), 20)
    clip = clip_mse(histogram(pixels), U8)
    assert clip.alpha == 1.0
    assert clip.relative_error < 1e-12


def test_clipping_alone_never_costs_more_than_everything() -> None:
    found = histogram(gauss())
    scales = np.linspace(0.01, 1.0, 50)
    part, whole = clipping_errors(found, scales, I4), squared_errors(found, scales, I4)
    assert (part <= whole * (1 + 1e-12)).all()
    assert (np.diff(part) <= 0).all()


def test_odd_levels_are_refused_for_activations() -> None:
    with pytest.raises(ValueError, match="Odd2 has no level 0"):
        clip_mse(histogram(np.ones(3)), ODD2)
