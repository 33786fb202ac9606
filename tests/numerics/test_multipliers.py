"""The constants of output stages: near the wanted ratio, and provable in float32."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lowbitc.compiler.elements import I8, U2, U4, U8
from lowbitc.compiler.numerics import multipliers, spec


@given(st.floats(1e-6, 0.999))
def test_a_multiplier_is_within_half_a_unit_of_its_ratio(ratio: float) -> None:
    multiplier, shift = multipliers.choose_multiplier(np.array([ratio]))
    assert 2**23 <= multiplier[0] < 2**24
    assert 1 <= shift[0] <= spec.SHIFT_MAX
    assert abs(multiplier[0] / 2.0 ** shift[0] - ratio) <= ratio * 2.0**-24


def test_breakpoints_are_the_least_sums_that_reach_a_level() -> None:
    multiplier, shift = multipliers.choose_multiplier(np.array([0.0123, 0.77]))
    levels = np.arange(-127, 128)
    at = multipliers.breakpoints(multiplier, shift, levels)
    for sums, below in ((at, False), (at - 1, True)):
        got = spec.requantize(
            sums,
            np.zeros(2, np.int32),
            multiplier.astype(np.int32),
            shift.astype(np.int32),
            np.full(2, -128, np.int32),
            np.full(2, 127, np.int32),
            0,
        )
        assert np.all(got < levels) if below else np.all(got >= levels)


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_chosen_requantizers_give_the_same_levels_in_float32(seed: int) -> None:
    random = np.random.default_rng(seed)
    ratio = np.exp(random.uniform(np.log(1e-5), np.log(0.5), 8))
    bias = random.uniform(-3e4, 3e4, 8)
    bound = np.full(8, 200_000)
    chosen = multipliers.choose_requantizer(
        ratio, bias, np.full(8, -128), np.full(8, 127), I8, (-bound, bound)
    )
    sums = random.integers(-200_000, 200_000, (8, 20_000))
    exact = spec.requantize(
        sums, chosen.bias, chosen.multiplier, chosen.shift, chosen.low, chosen.high, 0
    )
    scale = (chosen.multiplier / np.exp2(chosen.shift)).astype(np.float32)[:, None]
    quick = np.rint((sums + chosen.bias[:, None]).astype(np.float32) * scale)
    assert np.array_equal(np.clip(quick, -128, 127), exact)
    wanted = np.clip(np.floor((sums + bias[:, None]) * ratio[:, None] + 0.5), -128, 127)
    assert np.max(np.abs(exact - wanted)) <= 1


def test_float_agrees_sees_a_tie_that_rounds_the_other_way() -> None:
    """A sum of 1 with ratio 1/2 is a tie: half up gives 1, half to even gives 0."""
    one, most = np.array([1]), np.array([10])
    assert not multipliers.float_agrees(one, np.array([1]), 0, 3, -most, most).any()


@pytest.mark.parametrize("element", [U2, U4])
def test_thresholds_count_to_the_rounded_level(element: object) -> None:
    held = U2 if element is U2 else U4
    ratio, bias = np.array([0.031, 0.9]), np.array([3.3, -11.7])
    rows = multipliers.choose_thresholds(ratio, bias, np.zeros(2), np.full(2, held.maximum), held)
    sums = np.tile(np.arange(-2000, 2000), (2, 1))
    got = spec.count_thresholds(sums, rows, held.minimum, 0)
    wanted = np.floor((sums + bias[:, None]) * ratio[:, None] + 0.5)
    assert np.array_equal(got, np.clip(wanted, 0, held.maximum))


def test_thresholds_keep_a_channel_within_its_own_bounds() -> None:
    rows = multipliers.choose_thresholds(
        np.array([0.5]), np.array([0.0]), np.array([1.0]), np.array([2.0]), U2
    )
    sums = np.array([[-(10**6), 0, 10**6]])
    assert spec.count_thresholds(sums, rows, 0, 0).tolist() == [[1, 1, 2]]


@given(st.floats(0.01, 1.5), st.floats(0.01, 1.5))
def test_add_multipliers_keep_the_sum_within_a_level(a: float, b: float) -> None:
    first, second, shift = multipliers.choose_add(a, b)
    levels = np.arange(-128, 128)
    x, y = (v.reshape(-1) for v in np.meshgrid(levels, levels))
    got = spec.add(x, y, first, second, shift, I8)
    exact = x * a + y * b + 0.5
    wanted = np.clip(np.floor(exact), -128, 127)
    near_a_tie = np.abs(exact - np.rint(exact)) < 128 * 2.0**-13
    assert np.all((got == wanted) | near_a_tie)
    assert np.max(np.abs(got - wanted)) <= 1


def test_unsigned_levels_reach_their_maximum() -> None:
    chosen = multipliers.choose_requantizer(
        np.array([0.01]),
        np.array([0.0]),
        np.array([0]),
        np.array([255]),
        U8,
        (np.array([0]), np.array([10**6])),
    )
    got = spec.requantize(
        np.array([[10**6]]),
        chosen.bias,
        chosen.multiplier,
        chosen.shift,
        chosen.low,
        chosen.high,
        0,
    )
    assert got.tolist() == [[255]]
