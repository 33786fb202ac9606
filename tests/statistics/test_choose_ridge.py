"""How far weights may follow calibration rows, judged on rows that were left out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from lowbitc.compiler.elements import I8
from lowbitc.compiler.statistics.choose_ridge import MULTIPLES, by_inputs, by_rows, choose_ridge
from lowbitc.compiler.statistics.fit_layer import FitOptions, LayerRows, fit_layer
from tests.statistics.test_fit_layer import OPEN, loss, real, times

if TYPE_CHECKING:
    from lowbitc.compiler.elements import Array, Float32, Float64


def rows(count: int, noise: float, inputs: int = 60) -> tuple[Array, Float64, Float32]:
    """Return levels, weights and targets that differ from the weights' sums by noise."""
    random = np.random.default_rng(6)
    x = random.integers(0, 16, (count, 1, inputs)).astype(np.uint8)
    weights = random.normal(size=(1, 5, inputs))
    sums = times(x, weights)
    y = sums + random.normal(0, noise, sums.shape)
    return x, weights, y.astype(np.float32)


def test_few_rows_with_noise_hold_the_weights_back() -> None:
    x, weights, y = rows(40, noise=60.0)
    assert choose_ridge(x, y, weights) > 1


def test_rows_that_agree_on_other_weights_are_followed() -> None:
    x, weights, y = rows(2000, noise=0.1)
    assert choose_ridge(x, y * np.float32(1.5), weights) == 1


@pytest.mark.parametrize("groups", [1, 3])
def test_systems_of_rows_and_of_inputs_say_the_same(groups: int) -> None:
    random = np.random.default_rng(5)
    x = random.integers(0, 16, (37, groups, 60)).astype(np.uint8)
    weights = random.normal(size=(groups, 5, 60))
    y = (times(x, weights) + random.normal(3, 40, (37, groups, 5))).astype(np.float32)
    assert by_rows(x, y, weights) == pytest.approx(by_inputs(x, y, weights), rel=1e-5)


def test_plenty_of_rows_are_not_asked() -> None:
    x, weights, y = rows(4000, noise=60.0, inputs=8)
    assert choose_ridge(x, y, weights) == 1


def test_asking_lowers_the_loss_on_rows_of_others() -> None:
    x, weights, y = rows(400, noise=120.0)
    seen, held = slice(0, 80), slice(80, 400)
    losses: list[float] = []
    for asks in (False, True):
        options = FitOptions(weigh_ridge=asks)
        found = fit_layer(
            LayerRows(x[seen], y[seen], -OPEN, OPEN), weights, np.zeros((1, 5)), (I8,), options
        )
        assert real(found).shape == weights.shape
        losses.append(loss(x[held], y[held], found.levels, found.scales, found.bias))
    assert losses[1] < losses[0]
    assert MULTIPLES[0] == 1
