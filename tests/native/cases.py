"""Levels, stages and specification results for tests of native plans."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from lowbitc.compiler.numerics import spec
from lowbitc.targets import native
from lowbitc.targets.native import Requantize

if TYPE_CHECKING:
    from lowbitc.compiler.elements import Int8, Int64, Levels
    from lowbitc.targets.native import Window

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
