"""Fitting one layer: what the targets correct, exact sums, and clips that set outputs free."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pytest

from lowbitc.compiler.elements import I4, I8, ODD2, U2
from lowbitc.compiler.statistics.choose_ridge import choose_ridge
from lowbitc.compiler.statistics.fit_layer import (
    FitOptions,
    FittedLayer,
    LayerRows,
    fit_layer,
    float_error,
)
from lowbitc.compiler.statistics.fit_stage import fit_stage
from lowbitc.compiler.statistics.level_sums import cross_sums, outputs, second_moments
from lowbitc.compiler.statistics.round_levels import Effort

if TYPE_CHECKING:
    from lowbitc.compiler.elements import Array, Float32, Float64

OPEN = np.full((1, 1, 1), np.inf, np.float32)
SEARCH = FitOptions(Effort(scales=(0.8, 1.0, 1.2), rounds=2, sweeps=2))


def case(
    rows: int = 600, inputs: int = 24, outs: int = 8, groups: int = 1, step: float = 1.0
) -> tuple[Array, Float64, Float64, Float32]:
    """Return levels of a coarse input, weights and bias per level, and the float sums.

    The float network reads finer values than the levels, so that there is a loss to correct.
    """
    random = np.random.default_rng(3)
    causes = random.normal(size=(rows, groups, inputs))
    mixing = random.normal(size=(groups, inputs, inputs)) * 0.5 + 0.4
    fine = np.maximum(np.einsum("mgk,gkl->mgl", causes, mixing), 0) * 2
    levels = np.clip(np.rint(fine / step), 0, 15).astype(np.uint8)
    weights = random.normal(size=(groups, outs, inputs)) * step
    bias = random.normal(size=(groups, outs))
    y = times(fine / step, weights) + bias
    return levels, weights, bias, y.astype(np.float32)


def times(x: Array, weights: Float64) -> Float64:
    """Return x Wᵀ, [M, G, O]."""
    return np.asarray(np.einsum("mgk,gok->mgo", np.asarray(x, np.float64), weights), np.float64)


def real(fitted: FittedLayer) -> Float64:
    return np.asarray(fitted.levels, np.float64) * fitted.scales[:, :, np.newaxis]


def loss(x: Array, y: Float32, levels: Array, scales: Float64, bias: Float64) -> float:
    made = times(x, np.asarray(levels, np.float64) * scales[:, :, np.newaxis]) + bias
    return float(((made - y) ** 2).mean() / y.var())


def test_the_fit_beats_nearest_rounding_on_data_it_has_not_seen() -> None:
    x, weights, bias, y = case(1200, step=6.0)
    seen, held = slice(0, 600), slice(600, 1200)
    fitted = fit_layer(LayerRows(x[seen], y[seen], -OPEN, OPEN), weights, bias, (I4,), SEARCH)
    plain = fit_layer(
        LayerRows(x[seen], y[seen], -OPEN, OPEN),
        weights,
        bias,
        (I4,),
        FitOptions(mismatch=False),
    )
    step = np.abs(weights).max(axis=2) / 7
    nearest = np.clip(np.rint(weights / step[:, :, np.newaxis]), -8, 7)
    fitted_loss, plain_loss = (
        loss(x[held], y[held], f.levels, f.scales, f.bias) for f in (fitted, plain)
    )
    assert fitted_loss < plain_loss
    assert fitted_loss < 0.7 * loss(x[held], y[held], nearest, step, bias)


def test_rows_that_hold_the_weights_back_still_say_how_errors_cancel() -> None:
    random = np.random.default_rng(11)
    mixing = random.normal(size=(24, 24)) * 0.3 + 1.0
    levels, fresh = (
        np.clip(np.rint(random.normal(size=(rows, 1, 24)) @ mixing), -100, 100).astype(np.int8)
        for rows in (200, 2000)
    )
    weights = random.normal(size=(1, 8, 24))
    noise = 60 * random.normal(size=(200, 1, 8))
    y = (times(levels, weights) + noise).astype(np.float32)
    assert choose_ridge(levels, y, weights) > 1
    fitted = fit_layer(
        LayerRows(levels, y, -OPEN, OPEN),
        weights,
        np.zeros((1, 8)),
        (ODD2,),
        dataclasses.replace(SEARCH, free_rounding=True),
    )
    wanted = times(fresh, weights).astype(np.float32)
    bias = np.asarray((times(levels, weights) - times(levels, real(fitted))).mean(axis=0))
    assert loss(fresh, wanted, fitted.levels, fitted.scales, bias) < 0.023


def test_eight_bits_leave_the_layer_as_it_is() -> None:
    x, weights, bias, _ = case()
    y = (times(x, weights) + bias).astype(np.float32)
    fitted = fit_layer(LayerRows(x, y, -OPEN, OPEN), weights, bias, (I8,), FitOptions())
    assert loss(x, y, fitted.levels, fitted.scales, fitted.bias) < 1e-4


def test_the_mismatch_target_corrects_inputs_that_are_scaled_wrongly() -> None:
    x, weights, bias, _ = case()
    y = (1.5 * times(x, weights) + bias).astype(np.float32)
    fitted = fit_layer(LayerRows(x, y, -OPEN, OPEN), weights, bias, (I8,), FitOptions())
    assert loss(x, y, fitted.levels, fitted.scales, fitted.bias) < 2e-3


def test_the_bias_makes_the_means_agree() -> None:
    x, weights, bias, y = case(groups=3, inputs=9)
    fitted = fit_layer(LayerRows(x, y, -OPEN, OPEN), weights, bias, (ODD2,), SEARCH)
    made = times(x, real(fitted)) + fitted.bias
    assert np.allclose(made.mean(axis=0), y.mean(axis=0), atol=1e-4)


def test_setting_clipped_outputs_free_helps_what_the_clip_lets_through() -> None:
    x, weights, bias, y = case(inputs=24, outs=12)
    zero = np.zeros((1, 1, 1), np.float32)
    bound = LayerRows(x, y, zero, OPEN)
    losses: list[float] = []
    for rounds in (0, 2):
        options = dataclasses.replace(SEARCH, clip_rounds=rounds, polish_rounds=rounds)
        fitted = fit_layer(bound, weights, bias, (ODD2,), options)
        made = np.maximum(times(x, real(fitted)) + fitted.bias, 0)
        losses.append(float(((made - np.maximum(y, 0)) ** 2).mean()))
    assert losses[1] < losses[0]


@pytest.mark.parametrize("groups", [slice(0, 3), slice(1, 2)])
def test_inputs_that_never_change_leave_the_weights_as_they_were(groups: slice) -> None:
    x, weights, bias, _ = case(groups=3, inputs=9)
    x[:, groups] = 13
    y = (times(x, weights) + bias + np.random.default_rng(8).normal(size=(600, 3, 8)) * 9).astype(
        np.float32
    )
    fitted = fit_layer(LayerRows(x, y, -OPEN, OPEN), weights, bias, (I4,), SEARCH)
    gaps = real(fitted)[groups] - weights[groups]
    assert np.square(gaps).mean() < 0.02 * np.square(weights[groups]).mean()
    made = times(x, real(fitted)) + fitted.bias
    assert np.allclose(made.mean(axis=0), y.mean(axis=0), atol=1e-4)


def test_finer_levels_tell_more_of_the_next_layer() -> None:
    x, weights, _, y = case()
    fine = float_error(LayerRows(x, y, -OPEN, OPEN), weights)
    coarse = float_error(LayerRows(np.asarray(x, np.uint8) // 6, y, -OPEN, OPEN), weights * 6)
    assert 0 <= fine < coarse < 1


@pytest.mark.parametrize("peak", [15, 255])
def test_moments_are_exact_however_the_rows_are_ordered(peak: int) -> None:
    random = np.random.default_rng(0)
    x = random.integers(0, peak + 1, (5000, 2, 17)).astype(np.uint8)
    y = random.normal(size=(5000, 2, 3)).astype(np.float32)
    order = random.permutation(5000)
    whole = x.astype(np.int64)
    assert np.array_equal(second_moments(x), np.einsum("mgk,mgl->gkl", whole, whole))
    assert np.array_equal(second_moments(x[order]), second_moments(x))
    products, sums = cross_sums(y, x)
    for first, second in zip(cross_sums(y[order], x[order]), (products, sums), strict=True):
        assert np.array_equal(first, second)
    wanted = np.einsum("mgo,mgk->gok", y.astype(np.float64), whole.astype(np.float64))
    assert np.allclose(products, wanted, rtol=1e-5, atol=0.1)
    assert np.allclose(sums, y.sum(axis=0), rtol=1e-4, atol=1e-3)


def test_outputs_are_those_of_the_weights() -> None:
    x, weights, bias, _ = case(groups=2)
    wanted = times(x, weights) + bias
    assert np.allclose(outputs(x, weights, bias), wanted, rtol=1e-4, atol=1e-4)


def test_a_stage_wins_back_what_shrunken_sums_lose() -> None:
    random = np.random.default_rng(0)
    wanted = np.maximum(random.normal(size=(4000, 3)), 0).astype(np.float32)
    sums = (0.6 * wanted - 0.2 + 0.1 * random.normal(size=wanted.shape)).astype(np.float32)
    found = fit_stage(sums, wanted, 0.7, U2)
    assert found.after < 0.7 * found.before
    assert (found.gain > 1).all()


def test_a_stage_that_fits_is_left_alone() -> None:
    wanted = np.tile(np.arange(4, dtype=np.float32)[:, np.newaxis], (50, 2)) * 0.5
    found = fit_stage(wanted, wanted, 0.5, U2)
    assert np.array_equal(found.gain, np.ones(2))
    assert np.array_equal(found.offset, np.zeros(2))
    assert found.after == found.before == 0.0
