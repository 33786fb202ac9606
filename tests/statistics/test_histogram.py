"""Histograms: exact counts, whatever the split, the order or the size of the batches."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lowbitc.compiler.statistics.histogram import (
    Histogram,
    HistogramAccumulator,
    histogram,
    merge,
)

if TYPE_CHECKING:
    import numpy.typing as npt

    Values = npt.NDArray[np.float32]

any_values = hnp.arrays(
    np.float32, st.integers(0, 60), elements=st.floats(width=32, allow_nan=True)
)
normal_values = hnp.arrays(
    np.float32,
    st.integers(1, 60),
    elements=st.floats(-1e6, 1e6, width=32, allow_subnormal=False),
)


def same(left: Histogram, right: Histogram) -> bool:
    tables = all(
        np.array_equal(getattr(left, name), getattr(right, name))
        for name in ("counts", "offsets", "squares")
    )
    names = ("minimum", "maximum", "nan_count", "infinity_count")
    return tables and all(getattr(left, name) == getattr(right, name) for name in names)


@given(any_values, any_values, any_values)
def test_merging_is_exact_commutative_and_associative(a: Values, b: Values, c: Values) -> None:
    whole = histogram(np.concatenate((a, b, c)))
    assert same(whole, merge(histogram(a), merge(histogram(b), histogram(c))))
    assert same(whole, merge(merge(histogram(c), histogram(b)), histogram(a)))


def test_the_batch_split_and_the_order_leave_no_trace() -> None:
    values = np.random.default_rng(1).laplace(size=700_001).astype(np.float32)
    accumulator = HistogramAccumulator()
    for part in np.array_split(values[::-1], [7, 3_000, 400_000]):
        accumulator.add(part)
    assert same(histogram(values), accumulator.result())


@given(normal_values)
@example(np.array([-684032, -684085], np.float32)).via("an even spread would pass the largest")
def test_counts_extremes_and_moments_are_those_of_the_values(values: Values) -> None:
    found, exact = histogram(values), values.astype(np.float64)
    assert found.count == values.size
    assert found.zero_count == np.count_nonzero(values == 0)
    assert (found.minimum, found.maximum) == (exact.min(), exact.max())
    assert found.largest_magnitude == np.abs(exact).max()
    assert math.isclose(found.mean_magnitude(), np.abs(exact).mean(), rel_tol=1e-12)
    assert math.isclose(found.mean_square(), np.square(exact).mean(), rel_tol=1e-12)


@given(normal_values)
def test_rectifying_the_histogram_equals_rectifying_the_values(values: Values) -> None:
    expected, found = histogram(np.maximum(values, 0)), histogram(values).rectified()
    assert found.zero_count == expected.zero_count
    assert (found.minimum, found.maximum) == (expected.minimum, expected.maximum)
    assert found.negative().counts.size == 0
    assert np.array_equal(found.positive().means, expected.positive().means)


def test_nan_and_infinity_are_counted_and_kept_out_of_the_rest() -> None:
    values = np.array([1.0, np.nan, -2.0, np.inf, -np.inf, np.nan, 0.0], np.float32)
    found = histogram(values)
    assert (found.nan_count, found.infinity_count, found.count) == (2, 2, 3)
    assert (found.minimum, found.maximum) == (-2.0, 1.0)


@pytest.mark.parametrize("values", [[], [np.nan], [0.0, -0.0], [1e-40, -1e-44]])
def test_nothing_but_zeros_has_no_magnitudes(values: list[float]) -> None:
    found = histogram(np.array(values, np.float32))
    assert (found.minimum, found.maximum, found.mean_square()) == (0.0, 0.0, 0.0)
    assert found.zero_count == found.count


def test_equal_values_are_a_point_and_not_a_spread() -> None:
    side = histogram(np.full(1000, 6.1, np.float32)).positive()
    assert side.means.tolist() == [float(np.float32(6.1))]
    assert side.half_widths.tolist() == [0.0]
    assert side.counts.tolist() == [1000.0]


def test_pixels_are_represented_exactly() -> None:
    pixels = np.arange(1, 256, dtype=np.float32) / np.float32(255)
    side = histogram(np.repeat(pixels, 3)).positive()
    assert np.array_equal(side.means, pixels.astype(np.float64))
    assert not side.half_widths.any()


@given(normal_values)
def test_pieces_stay_within_the_extremes(values: Values) -> None:
    for side in (histogram(values).positive(), histogram(values).negative()):
        assert (side.means + side.half_widths <= side.largest).all()
        assert (side.means - side.half_widths > 0).all()


def test_integers_doubles_and_strided_views_are_accepted() -> None:
    values = np.arange(-8, 8)
    expected = histogram(values.astype(np.float32))
    assert same(expected, histogram(values.astype(np.int8)))
    assert same(expected, histogram(values.astype(np.float64).reshape(4, 4).T))
    assert same(expected, histogram(np.repeat(values, 2).astype(np.float32)[::2]))


def test_doubles_beyond_float32_count_as_infinite() -> None:
    assert histogram(np.array([1e300, 1.0])).infinity_count == 1


def test_a_bin_refuses_counts_its_sums_could_not_hold() -> None:
    ones = histogram(np.ones(1, np.float32))
    many = Histogram(ones.counts * (2**31 - 1), ones.offsets, ones.squares, 1.0, 1.0, 0, 0)
    accumulator = HistogramAccumulator()
    accumulator.add_histogram(many)
    with pytest.raises(OverflowError, match="fewer samples"):
        accumulator.add(np.ones(1, np.float32))
