"""An algorithm is chosen only where the bounds that make it exact hold."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from lowbitc.targets.native import Window
from lowbitc.targets.native.algorithms import (
    Algorithm,
    LayerShape,
    accumulator_bounds,
    choose_algorithm,
    safe_chunk,
)
from lowbitc.targets.native.arena import Lifetime, place_values

SQUARE = LayerShape(64, 64, 14, 14, 1, Window((3, 3), pads=(1, 1, 1, 1)))
POINT = dataclasses.replace(SQUARE, window=Window())
DEPTHWISE = dataclasses.replace(SQUARE, groups=64)


def test_bounds_are_reached_by_the_worst_levels() -> None:
    weights = np.array([[3, -2, 0], [-128, -128, -1]], np.int8).reshape(2, 1, 1, 3)
    low, high = accumulator_bounds(weights, 0, 255)
    assert low.tolist() == [-510, -65535]
    assert high.tolist() == [765, 0]
    low, high = accumulator_bounds(weights, -8, 7)
    assert low.tolist() == [-24 - 14, -257 * 7]
    assert high.tolist() == [21 + 16, 257 * 8]


def test_padding_is_a_level_even_where_levels_exclude_zero() -> None:
    weights = np.array([[5]], np.int8).reshape(1, 1, 1, 1)
    low, high = accumulator_bounds(weights, 3, 9)
    assert (low.tolist(), high.tolist()) == ([0], [45])


@pytest.mark.parametrize(
    ("weight", "hi", "chunk"),
    [(127, 255, 0), (17, 255, 0), (16, 255, 4), (8, 255, 6), (7, 255, 9), (3, 255, 19)],
)
def test_int16_lanes_sum_as_many_quads_as_cannot_saturate(weight: int, hi: int, chunk: int) -> None:
    weights = np.full((2, 1, 1, 400), weight, np.int8)
    found = safe_chunk(weights, 0, hi)
    assert found == chunk
    assert found * 2 * weight * hi <= 32767


def test_signed_levels_count_from_their_offset() -> None:
    weights = np.full((1, 1, 1, 64), 2, np.int8)
    assert safe_chunk(weights, -128, 127) == safe_chunk(weights, 0, 255)


@pytest.mark.parametrize(
    ("weight", "algorithm"), [(1, Algorithm.WINOGRAD4), (127, Algorithm.WINOGRAD4)]
)
def test_square_kernels_run_winograd_while_its_sums_fit(weight: int, algorithm: Algorithm) -> None:
    weights = np.full((64, 3, 3, 64), weight, np.int8)
    choice = choose_algorithm(SQUARE, weights, (0, 255), fast=True, dot8=False, batch=8)
    assert choice.algorithm is algorithm


def test_winograd_falls_back_to_smaller_tiles_where_sums_need_the_headroom() -> None:
    wide = dataclasses.replace(SQUARE, channels=512)
    weights = np.full((64, 3, 3, 512), 127, np.int8)
    choice = choose_algorithm(wide, weights, (0, 255), fast=True, dot8=False, batch=8)
    assert choice.algorithm is Algorithm.WINOGRAD2


@pytest.mark.parametrize(
    ("size", "weight", "algorithm"),
    [
        (14, 127, Algorithm.WINOGRAD_STRIDED),
        (13, 127, Algorithm.WINOGRAD_STRIDED),
        (7, 127, Algorithm.STRASSEN),
        (14, 2, Algorithm.GEMM8),
    ],
)
def test_stride_2_runs_winograd_where_tiles_fit_and_bytes_would_saturate(
    size: int, weight: int, algorithm: Algorithm
) -> None:
    window = Window((3, 3), (2, 2), (1, 1, 1, 1))
    shape = dataclasses.replace(SQUARE, height=size, width=size, window=window)
    weights = np.full((64, 3, 3, 64), weight, np.int8)
    choice = choose_algorithm(shape, weights, (0, 255), fast=True, dot8=False, batch=8)
    assert choice.algorithm is algorithm


@pytest.mark.parametrize(
    ("dot8", "weight", "algorithm"),
    [
        (False, 127, Algorithm.STRASSEN),
        (False, 2, Algorithm.GEMM8),
        (True, 127, Algorithm.GEMM8),
    ],
)
def test_bytes_are_multiplied_where_no_sum_saturates(
    weight: int, algorithm: Algorithm, *, dot8: bool
) -> None:
    weights = np.full((64, 1, 1, 64), weight, np.int8)
    choice = choose_algorithm(POINT, weights, (0, 255), fast=True, dot8=dot8, batch=8)
    assert choice.algorithm is algorithm


@pytest.mark.parametrize(
    ("change", "batch", "algorithm"),
    [
        ({}, 8, Algorithm.STRASSEN),
        ({}, 1, Algorithm.GEMM16),
        ({"height": 1, "width": 1}, 8, Algorithm.GEMM16),
        ({"channels": 66}, 8, Algorithm.GEMM16),
        ({"channels": 48}, 8, Algorithm.GEMM16),
        ({"outputs": 24}, 8, Algorithm.GEMM16),
        ({"channels": 128, "groups": 2}, 8, Algorithm.GEMM16),
    ],
)
def test_products_are_halved_where_there_is_enough_of_everything(
    change: dict[str, int], batch: int, algorithm: Algorithm
) -> None:
    shape = dataclasses.replace(POINT, **change)
    weights = np.full((shape.outputs, 1, 1, shape.channels // shape.groups), 127, np.int8)
    choice = choose_algorithm(shape, weights, (0, 255), fast=True, dot8=False, batch=batch)
    assert choice.algorithm is algorithm


@pytest.mark.parametrize(("weight", "narrow"), [(127, False), (14, True), (15, False)])
def test_depthwise_sums_are_int16_only_where_they_fit(weight: int, *, narrow: bool) -> None:
    weights = np.full((64, 3, 3, 1), weight, np.int8)
    choice = choose_algorithm(DEPTHWISE, weights, (0, 255), fast=True, dot8=False, batch=8)
    assert choice.algorithm is Algorithm.DEPTHWISE
    assert choice.narrow is narrow


def test_the_portable_path_runs_plain_products() -> None:
    weights = np.full((64, 3, 3, 64), 1, np.int8)
    choice = choose_algorithm(SQUARE, weights, (0, 255), fast=False, dot8=False, batch=8)
    assert choice.algorithm is Algorithm.GEMM16


def test_values_that_live_together_never_overlap() -> None:
    rng = np.random.default_rng(0)
    lifetimes = [
        Lifetime(int(rng.integers(1, 5000)), int(first), int(first + rng.integers(0, 6)))
        for first in rng.integers(0, 30, 60)
    ]
    offsets, total = place_values(lifetimes)
    for i, a in enumerate(lifetimes):
        assert offsets[i] + a.size_bytes <= total
        for j, b in enumerate(lifetimes[:i]):
            if a.first <= b.last and b.first <= a.last:
                ends = offsets[i] + a.size_bytes, offsets[j] + b.size_bytes
                assert ends[0] <= offsets[j] or ends[1] <= offsets[i]
    assert total < sum(value.size_bytes for value in lifetimes)
