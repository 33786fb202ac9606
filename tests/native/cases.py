"""Levels, stages and specification results for tests of native plans."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from lowbitc.compiler.numerics import spec
from lowbitc.targets import native
from lowbitc.targets.native import Requantize
from lowbitc.targets.native.builder import PlanBuilder

if TYPE_CHECKING:
    from lowbitc.compiler.elements import Array, Int8, Int64, Levels
    from lowbitc.targets.native import Stage, Window

BYTE = (0, 255)
FULL = (-128, 127)
PATHS = native.cpu_paths()

needs_extension = pytest.mark.skipif(not native.available(), reason="the extension was not built")


def random_levels(rng: np.random.Generator, shape: tuple[int, ...], lo: int, hi: int) -> Levels:
    """Return uint8, or int8 where ``lo`` is negative."""
    if lo < 0:
        return rng.integers(lo, hi + 1, shape).astype(np.int8)
    return rng.integers(lo, hi + 1, shape).astype(np.uint8)


def random_weights(rng: np.random.Generator, shape: tuple[int, ...], lo: int, hi: int) -> Int8:
    """Return int8."""
    return rng.integers(lo, hi + 1, shape).astype(np.int8)


def sums(x: Levels, w: Int8, window: Window, groups: int = 1) -> Int64:
    """Return what a convolution adds up to."""
    return spec.convolve(
        x.astype(np.int64), w.astype(np.int64), window.stride, window.dilation, window.pads, groups
    )


def ratio(value: float, channels: int, lo: int, hi: int) -> Requantize:
    """Return the stage that multiplies by about ``value``, without a bias."""
    mantissa, exponent = np.frexp(value)
    every = np.ones(channels, np.int64)
    return Requantize(
        bias=every * 0,
        multiplier=every * round(float(mantissa) * 2**23),
        shift=every * (23 - int(exponent)),
        lo=every * lo,
        hi=every * hi,
    )


def requantized(stage: Requantize, acc: Int64) -> Int64:
    """Return the levels of sums [frames, channels, height, width], without the table."""
    fields = (stage.bias, stage.multiplier, stage.shift, stage.lo, stage.hi)
    bias, multiplier, shift, lo, hi = (field.astype(np.int32) for field in fields)
    return spec.requantize(acc, bias, multiplier, shift, lo, hi)


def requantize(rng: np.random.Generator, acc: Int64, lo: int, hi: int) -> Requantize:
    """Return random constants whose levels spread over the whole range."""
    outputs = acc.shape[1]
    spread = np.maximum(np.asarray(np.abs(acc).max(axis=(0, 2, 3)), np.int64), 1)
    shift = np.asarray(rng.integers(24, 48, outputs), np.int64)
    gain = np.asarray(rng.uniform(0.3, 3.0, outputs), np.float64)
    wanted = (hi - lo) * gain / (2 * spread)
    multiplier = np.clip(np.rint(wanted * np.exp2(shift)), 1, 2**24 - 1).astype(np.int64)
    least = np.asarray(rng.integers(lo, lo + 3, outputs), np.int64)
    most = np.asarray(rng.integers(hi - 3, hi + 1, outputs), np.int64)
    bias = np.asarray(rng.integers(-spread, spread + 1), np.int64)
    return Requantize(bias, multiplier, shift, least, most)


def run_conv(
    x: Levels,
    w: Int8,
    stage: Stage,
    window: Window,
    *,
    levels: tuple[int, int],
    groups: int = 1,
    path: str = "",
    batch: int = 8,
    threads: int = 1,
) -> tuple[Array, str]:
    """Return the levels or sums of one layer, and how they were computed."""
    builder = PlanBuilder()
    value = builder.input((x.shape[1], x.shape[2], x.shape[3]), *levels)
    builder.output(builder.conv(value, w, stage, window, groups=groups))
    plan = builder.build(path=path, batch=batch)
    (y,) = plan.run([x], threads=threads)
    return y, plan.proofs[0].reason
