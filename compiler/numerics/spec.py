"""Executable specification of the chip's arithmetic; integers only, but at the borders.

Read it in one sitting: levels in, exact sums, an output stage, levels out. Every engine is tested
against these functions. Arrays of levels are int64 here, so that nothing can wrap unseen; layouts
are frames first (F,C,spatial…), weights O,I/groups,kernel….
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lowbitc.compiler.elements import Array, Float32, Int32, Int64, LevelType

ACCUMULATOR_MAX = 2**31 - 1
MULTIPLIER_BITS = 24
SHIFT_MAX = 47


# --- the borders to the CPU ----------------------------------------------------------------------


def quantize(x: Float32, scale: float, element: LevelType) -> Int64:
    """Return clamp(round-half-even(x / scale)), divided in float32."""
    steps = np.rint(np.asarray(x, np.float32) / np.float32(scale))
    return np.asarray(np.clip(steps, element.minimum, element.maximum), np.int64)


def dequantize(levels: Array, scale: Sequence[float], channel_axis: int = 1) -> Float32:
    """Return level · scale in float32; ``scale`` has one entry, or one a channel."""
    factors = np.asarray(scale, np.float32)
    if factors.size > 1:
        shape = [1] * levels.ndim
        shape[channel_axis] = factors.size
        factors = factors.reshape(shape)
    return np.asarray(levels.astype(np.float32) * factors, np.float32)


# --- sums ----------------------------------------------------------------------------------------


def product(a: Int64, b: Int64) -> Int64:
    """Return the matrix products a · b, exactly.

    They are summed in float64, which holds every integer up to 2^53: far beyond the 32 bits that
    the compiler proves sums to fit, and many times faster than numpy's products of integers.
    """
    return np.asarray(np.rint(a.astype(np.float64) @ b.astype(np.float64)), np.int64)


def convolve(
    x: Int64,
    w: Int64,
    stride: Sequence[int],
    dilation: Sequence[int],
    pads: Sequence[int],
    groups: int = 1,
) -> Int64:
    """Return the exact sums of a convolution, any number of spatial dimensions."""
    rank = len(stride)
    kernel = w.shape[2:]
    padded = pad(x, (0, 0, *pads[:rank], 0, 0, *pads[rank:]))
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    size = [(n - r) // s + 1 for n, r, s in zip(padded.shape[2:], reach, stride, strict=True)]
    frames, channels = x.shape[:2]
    grouped = w.reshape(groups, w.shape[0] // groups, *w.shape[1:])
    out = np.zeros((frames, groups, grouped.shape[1], math.prod(size)), np.int64)
    for tap in itertools.product(*(range(k) for k in kernel)):
        window = _window(tap, dilation, size, stride)
        seen = padded[(slice(None), slice(None), *window)]
        source = seen.reshape(frames, groups, channels // groups, -1)
        out += product(_tap(grouped, tap), source)
    return out.reshape(frames, w.shape[0], *size)


def convolve_transposed(
    x: Int64,
    w: Int64,
    stride: Sequence[int],
    dilation: Sequence[int],
    pads: Sequence[int],
    output_padding: Sequence[int],
    groups: int = 1,
) -> Int64:
    """Return the exact sums of a transposed convolution; w has layout I,O/groups,kernel…."""
    rank = len(stride)
    kernel = w.shape[2:]
    frames, channels = x.shape[:2]
    spread = [
        (n - 1) * s + d * (k - 1) + 1
        for n, s, d, k in zip(x.shape[2:], stride, dilation, kernel, strict=True)
    ]
    per_in, per_out = channels // groups, w.shape[1]
    wide = [n + extra for n, extra in zip(spread, output_padding, strict=True)]
    out = np.zeros((frames, per_out * groups, *wide), np.int64)
    source = x.reshape(frames, groups, per_in, -1)
    grouped = np.moveaxis(w.reshape(groups, per_in, *w.shape[1:]), 1, 2)
    for tap in itertools.product(*(range(k) for k in kernel)):
        window = _window(tap, dilation, x.shape[2:], stride)
        sums = product(_tap(grouped, tap), source)
        out[(slice(None), slice(None), *window)] += sums.reshape(frames, -1, *x.shape[2:])
    inner = tuple(
        slice(begin, n - end) for begin, end, n in zip(pads[:rank], pads[rank:], wide, strict=True)
    )
    return out[(slice(None), slice(None), *inner)]


def _tap(grouped: Int64, tap: tuple[int, ...]) -> Int64:
    """Return the weights [groups, O, I] of one tap of the kernels [groups, O, I, kernel…]."""
    index: tuple[slice | int, ...] = (slice(None), slice(None), slice(None), *tap)
    return np.asarray(grouped[index], np.int64)


def _window(
    tap: Sequence[int], dilation: Sequence[int], size: Sequence[int], stride: Sequence[int]
) -> tuple[slice[int, int, int], ...]:
    """Return, along each spatial dimension, the places that one tap of a kernel meets."""
    return tuple(
        slice(t * d, t * d + (n - 1) * s + 1, s)
        for t, d, n, s in zip(tap, dilation, size, stride, strict=True)
    )


def dense(x: Int64, w: Int64) -> Int64:
    """Return x[…, K] · w[O, K]ᵀ."""
    return product(x, w.T)


def window_sums(
    x: Int64, kernel: Sequence[int], stride: Sequence[int], pads: Sequence[int]
) -> Int64:
    """Return the sum of the levels in each window; padding is level 0."""
    channels = x.shape[1]
    ones = np.ones((channels, 1, *kernel), np.int64)
    return convolve(x, ones, stride, (1,) * len(kernel), pads, groups=channels)


# --- output stages -------------------------------------------------------------------------------


def count_thresholds(sums: Int64, thresholds: Int32, low: int, channel_axis: int = 1) -> Int64:
    """Return low + the number of thresholds of the channel that are ≤ the sum.

    ``thresholds`` is [C, n], ascending in each row: bias, batch norm, scales and clip are in it.
    """
    moved = np.moveaxis(sums, channel_axis, 0)
    levels = np.empty_like(moved)
    for channel, row in enumerate(thresholds):
        levels[channel] = low + np.searchsorted(row, moved[channel], side="right")
    return np.moveaxis(levels, 0, channel_axis)


def requantize(
    sums: Int64,
    bias: Int32,
    multiplier: Int32,
    shift: Int32,
    low: Int32,
    high: Int32,
    channel_axis: int = 1,
) -> Int64:
    """Return clamp(((sum + bias) · multiplier + 2^(shift−1)) >> shift, low, high), by channel.

    0 < multiplier < 2^24 and 1 ≤ shift ≤ 47. The shift is arithmetic, so halves round up,
    towards +∞.
    """
    shape = [1] * sums.ndim
    shape[channel_axis] = -1
    offset, factor, bits, least, most = (
        np.asarray(v, np.int64).reshape(shape) for v in (bias, multiplier, shift, low, high)
    )
    half = np.left_shift(np.int64(1), bits - 1)
    scaled = np.right_shift((sums + offset) * factor + half, bits)
    return np.asarray(np.clip(scaled, least, most), np.int64)


def look_up(levels: Int64, table: Array, element: LevelType) -> Int64:
    """Return table[level − smallest level of ``element``]."""
    return table.astype(np.int64)[levels - element.minimum]


# --- other operators -----------------------------------------------------------------------------


def add(
    a: Int64, b: Int64, multiplier_a: int, multiplier_b: int, shift: int, element: LevelType
) -> Int64:
    """Return clamp((a · multiplier_a + b · multiplier_b + 2^(shift−1)) >> shift)."""
    scaled = (a * multiplier_a + b * multiplier_b + (1 << (shift - 1))) >> shift
    return np.asarray(np.clip(scaled, element.minimum, element.maximum), np.int64)


def max_pool(
    x: Int64,
    kernel: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
    pads: Sequence[int],
) -> Int64:
    """Return the largest level of each window; padding never wins."""
    rank = len(kernel)
    lowest = np.iinfo(np.int64).min
    padded = pad(x, (0, 0, *pads[:rank], 0, 0, *pads[rank:]), lowest)
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    size = [(n - r) // s + 1 for n, r, s in zip(padded.shape[2:], reach, stride, strict=True)]
    out = np.full((*x.shape[:2], *size), lowest, np.int64)
    for tap in itertools.product(*(range(k) for k in kernel)):
        window = _window(tap, dilation, size, stride)
        np.maximum(out, padded[(slice(None), slice(None), *window)], out=out)
    return out


def pad(x: Int64, pads: Sequence[int], value: int = 0) -> Int64:
    """Return x with ``pads`` (begins, then ends, of every axis) of ``value`` around it."""
    rank = x.ndim
    widths = tuple(zip(pads[:rank], pads[rank:], strict=True))
    return np.pad(x, widths, constant_values=value)


# --- bounds --------------------------------------------------------------------------------------


def sum_bounds(w: Int64, element: LevelType) -> tuple[Int64, Int64]:
    """Return, by output channel, the least and the greatest sum that any input can give.

    ``w`` is [O, …]; the input's levels are those of ``element``, and 0 at padding.
    """
    flat = w.reshape(w.shape[0], -1)
    low, high = min(element.minimum, 0), max(element.maximum, 0)
    products = np.stack([flat * low, flat * high])
    return products.min(axis=0).sum(axis=1), products.max(axis=0).sum(axis=1)
