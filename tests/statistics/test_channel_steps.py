"""Steps of channels weigh errors of levels against those of the weights behind them."""

from __future__ import annotations

import numpy as np

from lowbitc.compiler.statistics.channel_steps import Reading, choose_steps

RANDOM = np.random.default_rng(0)
SIZES = np.array([0.2, 1.0, 5.0])


def reading(sizes: object, *, shared: float = 0.0, energy: float = 1.0) -> Reading:
    rows = np.abs(RANDOM.normal(size=(3, 4000))) * np.asarray(sizes).reshape(-1, 1)
    costs = np.full(3, energy) / np.asarray(sizes) ** 2
    return Reading(rows.astype(np.float32), costs, costs * shared, 3)


def spread(*readings: Reading) -> float:
    steps = choose_steps(*readings)
    return float(steps.max() / steps.min())


def test_steps_follow_the_sizes_of_channels_where_readers_do_not_share_scales() -> None:
    assert 20 < spread(reading(SIZES)) < 30


def test_weights_that_share_a_scale_hold_steps_together() -> None:
    unlike = Reading(reading(SIZES).rows, np.ones(3), np.full(3, 0.0), 3)
    held = Reading(unlike.rows, unlike.energy, np.full(3, 1.0), 3)
    assert spread(held) < 0.7 * spread(unlike)


def test_a_value_twice_or_in_other_units_gives_the_steps_of_the_value() -> None:
    once = reading(SIZES)
    wanted = choose_steps(once)
    other = Reading(once.rows * np.float32(8), once.energy / 64, once.shared / 64, once.top)
    for found in (choose_steps(once, once), choose_steps(once, other)):
        assert np.allclose(found / found[1], wanted / wanted[1], rtol=0.01)


def test_values_joined_meet_between_what_each_would_have_by_what_they_cost() -> None:
    even, uneven = np.ones(3), SIZES
    dear = spread(reading(uneven, energy=100.0), reading(even, energy=1.0))
    cheap = spread(reading(uneven, energy=0.01), reading(even, energy=1.0))
    assert spread(reading(even)) < cheap < dear
    assert dear > 2 * cheap


def test_channels_without_values_get_the_mean_step() -> None:
    held = reading(SIZES)
    rows = np.concatenate([held.rows, np.zeros((1, 4000), np.float32)])
    none = Reading(rows, np.append(held.energy, 0.0), np.append(held.shared, 0.0), 3)
    steps = choose_steps(none)
    assert np.isclose(steps[3], np.exp(np.log(steps[:3]).mean()))
    nothing = Reading(np.zeros((2, 9), np.float32), np.ones(2), np.ones(2), 3)
    assert (choose_steps(nothing) == 1).all()
