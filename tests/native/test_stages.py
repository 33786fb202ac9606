"""Output stages are exact at every step of every channel, in the form that was chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from lowbitc.targets.native import Requantize, Thresholds, Window
from lowbitc.targets.native.builder import PlanBuilder
from lowbitc.targets.native.stages import fit_float_form
from tests.native.cases import PATHS, needs_extension, requantized

if TYPE_CHECKING:
    from lowbitc.compiler.elements import Int64, Levels

CHANNELS = 16
TERMS = 64
LARGEST = TERMS * 255 * 127 + 126


def levels_of(acc: Int64) -> Levels:
    """Return inputs that 64 weights of 127 and one of 1 add up to ``acc``, one a frame."""
    quotient, rest = np.divmod(acc, 127)
    columns = [np.clip(quotient - 255 * i, 0, 255) for i in range(TERMS)]
    return np.stack([*columns, rest], axis=1).astype(np.uint8)[:, :, None, None]


def steps_and_one_below(stage: Requantize) -> Int64:
    steps = np.unique(stage.steps())
    points = np.concatenate([steps, steps - 1, [0, LARGEST]])
    return points[(points >= 0) & (points <= LARGEST)]


def requantizer(seed: int, lo: int, hi: int) -> Requantize:
    """Random constants that spread [0, LARGEST] over about the range; many are powers of two."""
    rng = np.random.default_rng(seed)
    shift = np.asarray(rng.integers(20, 47, CHANNELS), np.int64)
    wanted = (hi - lo) / LARGEST * np.exp2(np.asarray(rng.uniform(-2, 5, CHANNELS), np.float64))
    plain = np.rint(wanted * np.exp2(shift))
    power = np.exp2(np.rint(np.log2(np.maximum(plain, 1))))
    multiplier = np.clip(np.where(np.arange(CHANNELS) % 4 == 0, power, plain), 1, 2**24 - 1)
    bias = np.asarray(rng.integers(-LARGEST, LARGEST // 4, CHANNELS), np.int64)
    every = np.ones(CHANNELS, np.int64)
    return Requantize(bias, multiplier.astype(np.int64), shift, every * lo, every * hi)


@needs_extension
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("lo", "hi"), [(0, 255), (-128, 127), (0, 15), (-8, 7)])
@pytest.mark.parametrize("seed", range(6))
def test_requantized_levels_are_exact_on_both_sides_of_every_step(
    seed: int, lo: int, hi: int, path: str
) -> None:
    stage = requantizer(seed, lo, hi)
    acc = steps_and_one_below(stage)
    weights = np.full((CHANNELS, TERMS + 1, 1, 1), 127, np.int8)
    weights[:, -1] = 1
    builder = PlanBuilder()
    builder.output(builder.conv(builder.input((TERMS + 1, 1, 1)), weights, stage, Window()))
    (y,) = builder.build(path=path).run([levels_of(acc)], threads=2)
    expected = requantized(stage, np.broadcast_to(acc[:, None, None, None], y.shape))
    np.testing.assert_array_equal(y, expected)


def test_long_sums_of_eight_bits_are_checked_and_short_sums_proved() -> None:
    every = np.ones(1, np.int64)
    fine = Requantize(every * 7, every * 12345677, every * 36, every * 0, every * 255)
    assert fit_float_form(fine, every * 0, every * 2000000).checked.all()
    coarse = Requantize(every * 7, every * 12345677, every * 28, every * 0, every * 255)
    assert fit_float_form(coarse, every * 0, every * 5000).proved.all()


def test_a_large_bias_leaves_only_the_integer_form() -> None:
    every = np.ones(1, np.int64)
    stage = Requantize(every * -(2**30), every * 12345677, every * 36, every * 0, every * 255)
    form = fit_float_form(stage, every * (2**30), every * (2**30 + 2**21))
    assert not form.proved.any()
    assert not form.checked.any()


def test_evenly_spaced_thresholds_are_proved_in_float_and_uneven_ones_are_not() -> None:
    even = Thresholds(np.arange(-70, 80, 10)[None, :])
    uneven = Thresholds(np.array([[-70, -69, 0, 1, 2, 50, 51]]))
    limit = np.array([1000])
    assert fit_float_form(even, -limit, limit).proved.all()
    assert not fit_float_form(uneven, -limit, limit).proved.any()


@pytest.mark.parametrize("field", ["multiplier", "shift"])
def test_constants_outside_their_range_are_refused(field: str) -> None:
    one = np.ones(2, np.int64)
    multiplier, shift = one * (field != "multiplier"), one * (field != "shift")
    with pytest.raises(ValueError, match="requantize needs"):
        Requantize(one, multiplier, shift, one, one)
