"""SAWB: coefficients that can be derived again, and safe scales where the line fails."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from lowbitc.compiler.elements import I1, I2, I4, I8, ODD1, ODD2, ODD4, U4, LevelType
from lowbitc.compiler.statistics.sawb import bin_weights, sawb_scales
from lowbitc.compiler.statistics.sawb_table import COEFFICIENTS
from lowbitc.compiler.statistics.weight_scales import fit_weights

if TYPE_CHECKING:
    from types import ModuleType

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "derive_sawb.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("derive_sawb", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("name", "zero"), [("Odd2", False), ("I2", True)])
def test_the_two_bit_coefficients_can_be_derived_again(
    script: ModuleType, name: str, *, zero: bool
) -> None:
    line = script.derive(2, zero=zero)
    assert np.allclose(COEFFICIENTS[name], line, atol=6e-4)


@pytest.mark.parametrize(
    ("name", "c1", "c2", "r_squared"),
    [
        ("Odd2", 3.109, -2.043, 0.976),
        ("Odd3", 7.368, -6.739, 0.982),
        ("Odd4", 12.096, -12.164, 0.957),
        ("I2", 2.534, -1.614, 0.979),
        ("I3", 6.948, -6.311, 0.993),
        ("I4", 11.825, -11.862, 0.962),
    ],
)
def test_coefficients_agree_with_an_independent_derivation(
    name: str, c1: float, c2: float, r_squared: float
) -> None:
    found = COEFFICIENTS[name]
    assert math.isclose(found.c1, c1, rel_tol=0.006)
    assert math.isclose(found.c2, c2, rel_tol=0.006)
    assert math.isclose(found.r_squared, r_squared, abs_tol=0.002)


def test_the_line_fits_worse_with_more_bits() -> None:
    for alphabet in ("Odd", "I"):
        fits = [COEFFICIENTS[f"{alphabet}{bits}"].r_squared for bits in (3, 4, 8)]
        assert fits == sorted(fits, reverse=True)


@pytest.mark.parametrize(("levels", "sigmas"), [(ODD2, 1.493), (ODD4, 2.514), (I2, 1.224)])
def test_the_clip_of_a_gaussian_is_near_the_optimum(levels: LevelType, sigmas: float) -> None:
    weights = np.random.default_rng(1).standard_normal((1, 500_000))
    alpha = sawb_scales(weights, levels)[0] * levels.maximum
    assert math.isclose(alpha, sigmas, rel_tol=0.05)


@pytest.mark.parametrize("levels", [ODD1, ODD2, ODD4], ids=lambda t: t.name)
def test_the_error_is_close_to_the_least_on_gaussian_and_laplace_weights(
    levels: LevelType,
) -> None:
    random = np.random.default_rng(2)
    for weights in (random.standard_normal((4, 5000)), random.laplace(size=(4, 5000))):
        ratio = bin_weights(weights, levels).errors / fit_weights(weights, levels).errors
        assert ratio.max() < 1.05


def test_one_bit_is_the_mean_magnitude_times_the_sign() -> None:
    found = bin_weights(np.array([[0.5, -1.5, 1.0]]), ODD1)
    assert found.scales.tolist() == [1.0]
    assert found.levels.tolist() == [[1, -1, 1]]


def test_one_alpha_serves_the_tensor_when_asked() -> None:
    weights = np.random.default_rng(3).standard_normal((6, 50)) * np.arange(1, 7)[:, np.newaxis]
    scales = sawb_scales(weights, ODD2, per_channel=False)
    assert np.array_equal(scales, np.full(6, sawb_scales(weights.reshape(1, -1), ODD2)[0]))
    assert np.unique(sawb_scales(weights, ODD2)).size == 6


def test_a_prediction_above_the_largest_weight_falls_back_to_it() -> None:
    # Equal magnitudes: c1 + c2 is above 1 without zero at 2 bits, and below 0 at 4 bits.
    weights = np.array([[0.25, -0.25, 0.25, -0.25]])
    assert sawb_scales(weights, ODD2)[0] == 0.25 / 3
    assert sawb_scales(weights, ODD4)[0] == 0.25 / 15


def test_a_row_of_zeros_gets_scale_one() -> None:
    assert sawb_scales(np.zeros((2, 3)), I4).tolist() == [1.0, 1.0]
    assert not bin_weights(np.zeros((2, 3)), I4).levels.any()


def test_powers_of_two_scale_the_scales_exactly() -> None:
    weights = np.random.default_rng(4).standard_normal((3, 40))
    assert np.array_equal(sawb_scales(weights * 2.0**-9, I4), sawb_scales(weights, I4) * 2.0**-9)


@pytest.mark.parametrize("levels", [I1, I8, U4], ids=lambda t: t.name)
def test_levels_sawb_is_not_for_are_refused(levels: LevelType) -> None:
    with pytest.raises(ValueError, match=f"SAWB is not for {levels.name}"):
        sawb_scales(np.ones((1, 3)), levels)


def test_binning_at_eight_bits_takes_the_least_squared_error_instead() -> None:
    weights = np.random.default_rng(5).uniform(-1, 1, size=(3, 64))
    assert np.array_equal(bin_weights(weights, I8).scales, fit_weights(weights, I8).scales)
