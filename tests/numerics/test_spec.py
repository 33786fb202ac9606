"""The arithmetic, against independent definitions: ties, extremes and shapes."""

from __future__ import annotations

from fractions import Fraction
from math import floor
from typing import cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper
from onnx.reference import ReferenceEvaluator

from lowbitc.compiler.elements import I4, I8, U2, U4, U8, odd
from lowbitc.compiler.numerics import spec


def _column(*values: int) -> np.ndarray:
    return np.array(values, np.int32)


def test_quantize_rounds_halves_to_even_and_clamps() -> None:
    x = np.array([-9.0, -0.5, 0.5, 1.5, 2.5, 300.0], np.float32)
    assert spec.quantize(x, 1.0, U8).tolist() == [0, 0, 0, 2, 2, 255]
    assert spec.quantize(x, 1.0, I4).tolist() == [-8, 0, 0, 2, 2, 7]


def test_quantize_divides_in_float32() -> None:
    scale = np.float32(0.1)
    x = (np.arange(256, dtype=np.float32) * scale).astype(np.float32)
    wanted = np.clip(np.rint(x / scale), 0, 255)
    assert np.array_equal(spec.quantize(x, float(scale), U8), wanted)


def test_dequantize_scales_each_channel() -> None:
    levels = np.array([[[1], [2]]])
    assert spec.dequantize(levels, (0.5, 2.0)).tolist() == [[[0.5], [4.0]]]
    assert spec.dequantize(levels, (3.0,)).tolist() == [[[3.0], [6.0]]]


@pytest.mark.parametrize("shift", [1, 2, 7, 23])
def test_requantize_rounds_every_half_up(shift: int) -> None:
    sums = np.arange(-4 << shift, 4 << shift, max(1, (1 << shift) // 4), dtype=np.int64)[None, :]
    got = spec.requantize(
        sums, _column(0), _column(1), _column(shift), _column(-128), _column(127), 0
    )
    wanted = [floor(Fraction(int(s), 1 << shift) + Fraction(1, 2)) for s in sums[0]]
    assert got[0].tolist() == wanted


def test_requantize_is_exact_at_the_largest_constants() -> None:
    sums = np.array([[2**30, -(2**30)]])
    bias, multiplier, shift = 2**30 - 1, 2**24 - 1, 47
    got = spec.requantize(
        sums, _column(bias), _column(multiplier), _column(shift), _column(-128), _column(127), 0
    )
    wanted = [
        floor(Fraction((int(s) + bias) * multiplier, 1 << shift) + Fraction(1, 2)) for s in sums[0]
    ]
    assert got[0].tolist() == np.clip(wanted, -128, 127).tolist()


def test_requantize_clamps_each_channel_by_its_own_bounds() -> None:
    sums = np.array([[-100, 100], [-100, 100]])
    got = spec.requantize(
        sums, _column(0, 0), _column(2, 2), _column(1, 1), _column(-7, 3), _column(9, 50), 0
    )
    assert got.tolist() == [[-7, 9], [3, 50]]


def test_a_sum_on_a_threshold_reaches_the_level() -> None:
    thresholds = np.array([[-5, 0, 7]], np.int32)
    sums = np.array([[-6, -5, -1, 0, 6, 7, 99]])
    assert spec.count_thresholds(sums, thresholds, U2.minimum, 0).tolist() == [
        [0, 1, 1, 2, 2, 3, 3]
    ]
    assert spec.count_thresholds(sums, thresholds, -2, 0).tolist() == [[-2, -1, -1, 0, 0, 1, 1]]


@given(st.integers(-128, 127), st.integers(-128, 127), st.integers(1, 2**15), st.integers(1, 2**15))
def test_add_is_the_rounded_weighted_sum(a: int, b: int, m: int, n: int) -> None:
    got = spec.add(np.array([a]), np.array([b]), m, n, 15, I8)
    exact = Fraction(a * m + b * n, 1 << 15)
    assert got.tolist() == [min(max(floor(exact + Fraction(1, 2)), -128), 127)]


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "dilation", "pads", "groups"),
    [
        ((7, 6), (3, 3), (1, 1), (1, 1), (1, 1, 1, 1), 1),
        ((8, 5), (3, 2), (2, 1), (1, 2), (0, 1, 2, 0), 2),
        ((9,), (4,), (3,), (2,), (1, 2), 4),
        ((5, 5), (1, 1), (2, 2), (1, 1), (0, 0, 0, 0), 4),
    ],
)
def test_convolve_gives_the_sums_of_onnx(
    size: tuple[int, ...],
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
    pads: tuple[int, ...],
    groups: int,
) -> None:
    random = np.random.default_rng(0)
    x = random.integers(-128, 256, (2, 4, *size))
    w = random.integers(-128, 128, (8, 4 // groups, *kernel))
    node = helper.make_node(
        "Conv",
        ["x", "w"],
        ["y"],
        strides=list(stride),
        dilations=list(dilation),
        pads=list(pads),
        group=groups,
    )
    feeds = {"x": x.astype(np.float64), "w": w.astype(np.float64)}
    (wanted,) = cast("list[np.ndarray]", ReferenceEvaluator(node).run(None, feeds))  # pyright: ignore[reportUnknownMemberType]
    assert np.array_equal(spec.convolve(x, w, stride, dilation, pads, groups), wanted)


def test_max_pool_never_takes_the_padding() -> None:
    x = np.full((1, 1, 2, 2), -5)
    got = spec.max_pool(x, (2, 2), (1, 1), (1, 1), (1, 1, 1, 1))
    assert got.tolist() == [[[[-5] * 3] * 3]]


def test_window_sums_count_padding_as_level_zero() -> None:
    x = np.arange(1, 5).reshape(1, 1, 2, 2)
    got = spec.window_sums(x, (2, 2), (1, 1), (1, 1, 0, 0))
    assert got.tolist() == [[[[1, 3], [4, 10]]]]


def test_transposed_convolution_is_the_adjoint_of_convolution() -> None:
    random = np.random.default_rng(1)
    w = random.integers(-8, 8, (3, 2, 3, 3))
    x = random.integers(-8, 8, (1, 2, 9, 9))
    seen = spec.convolve(x, w, (2, 2), (1, 1), (1, 1, 1, 1))
    y = random.integers(-8, 8, seen.shape)
    back = spec.convolve_transposed(y, w, (2, 2), (1, 1), (1, 1, 1, 1), (0, 0))
    assert back.shape == x.shape
    assert np.sum(seen * y) == np.sum(x * back)


@given(st.data())
def test_sum_bounds_are_reached_and_never_passed(data: st.DataObject) -> None:
    element = data.draw(st.sampled_from([U4, U8, I4, I8]))
    row = data.draw(st.lists(st.integers(-128, 127), min_size=1, max_size=6))
    w = np.array([row])
    low, high = spec.sum_bounds(w, element)
    least, most = min(element.minimum, 0), max(element.maximum, 0)
    assert low[0] == sum(min(v * least, v * most) for v in row)
    assert high[0] == sum(max(v * least, v * most) for v in row)


def test_odd_levels_have_no_zero() -> None:
    assert odd(2).levels().tolist() == [-3, -1, 1, 3]
    assert odd(1).levels().tolist() == [-1, 1]
