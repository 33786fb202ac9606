"""Moments: exact sums of integers, whatever the batches; centring; grids for floats."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowbitc.compiler.statistics.moments import Moments, on_grid


def equal(left: Moments, right: Moments) -> bool:
    names = ("count", "sum", "second", "paired_sum", "cross")
    return all(np.array_equal(getattr(left, name), getattr(right, name)) for name in names)


@given(st.integers(0, 50), st.integers(0, 50), st.sampled_from([3, 127]), st.integers(0, 99))
def test_sums_of_integers_do_not_depend_on_the_split(
    first: int, second: int, peak: int, seed: int
) -> None:
    rows = np.random.default_rng(seed).integers(-peak - 1, peak + 1, (80, 2, 5)).astype(np.int8)
    whole, split, other = (Moments(5, groups=2) for _ in range(3))
    whole.add(rows)
    for part in np.split(rows[::-1], sorted((first, second))):
        split.add(part)
    assert equal(whole, split)
    other.add(rows)
    whole.merge(other)
    split.add(rows)
    assert equal(whole, split)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32])
def test_integer_sums_are_exact_beyond_float32(dtype: type[np.integer]) -> None:
    rows = np.full((70_000, 3), min(np.iinfo(dtype).max, 30_011), dtype)
    rows[::2] -= 1
    found = Moments(3)
    found.add(rows)
    wide = rows.astype(np.int64)
    assert np.array_equal(found.second[0], wide.T @ wide)
    assert np.array_equal(found.sum[0], wide.sum(axis=0))


def test_each_group_has_its_own_sums() -> None:
    rows = np.random.default_rng(1).integers(0, 16, (40, 3, 4)).astype(np.uint8)
    found = Moments(4, groups=3)
    found.add(rows)
    for group in range(3):
        alone = Moments(4)
        alone.add(rows[:, group])
        assert np.array_equal(found.second[group], alone.second[0])


def test_centred_moments_are_covariances_times_the_count() -> None:
    random = np.random.default_rng(2)
    x = random.standard_normal((200, 4)) + 3
    y = x + random.standard_normal((200, 4)) - 1
    found = Moments(4, paired=True)
    found.add(x, y)
    cx, cy = x - x.mean(axis=0), y - y.mean(axis=0)
    assert np.allclose(found.mean()[0], x.mean(axis=0))
    assert np.allclose(found.paired_mean()[0], y.mean(axis=0))
    assert np.allclose(found.centred_second()[0], cx.T @ cx)
    assert np.allclose(found.centred_cross()[0], cy.T @ cx)


def test_no_rows_have_mean_zero() -> None:
    found = Moments(3)
    found.add(np.zeros((0, 3), np.uint8))
    assert found.count == 0
    assert not found.mean().any()


def test_paired_rows_are_neither_forgotten_nor_smuggled_in() -> None:
    rows = np.ones((2, 3))
    with pytest.raises(ValueError, match="paired"):
        Moments(3).add(rows, rows)
    with pytest.raises(ValueError, match="paired"):
        Moments(3, paired=True).add(rows)


@given(st.integers(0, 1000), st.permutations(range(64)))
def test_rows_on_a_grid_sum_exactly_in_any_order(seed: int, order: list[int]) -> None:
    floats = np.random.default_rng(seed).standard_normal((64, 6)).astype(np.float32)
    rows = on_grid(floats, 4.0)
    here, there = Moments(6), Moments(6)
    here.add(rows)
    for index in order:
        there.add(rows[index : index + 1])
    assert equal(here, there)


def test_the_grid_is_fine_and_limited() -> None:
    rows = np.array([0.1, -1.0, 3.0, 17.0])
    found = on_grid(rows, 3.0, bits=16)
    assert np.abs(found[:3] - rows[:3]).max() <= 2.0**-14
    assert found[3] == 4.0 - 2.0**-13
    assert not on_grid(rows, 0.0).any()
