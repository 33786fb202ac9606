"""Choose the integer constants of output stages from real scales.

The multipliers are chosen so that float32 hardware computes the same levels: of the 24-bit
multipliers next to the wanted ratio, the first for which float32((sum + bias) · M/2^S), rounded
half to even, equals the integer definition at every place where the level changes. An engine may
then run the stage in float32 after proving, again by the breakpoints, that it may.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lowbitc.compiler.numerics.spec import ACCUMULATOR_MAX, MULTIPLIER_BITS, SHIFT_MAX

if TYPE_CHECKING:
    from lowbitc.compiler.elements import Bools, Float64, Int32, Int64, LevelType

_TRIES = 24
_ADD_BITS = 15
"""Bits of an Add's larger multiplier: level · multiplier is then exact in float32."""


@dataclass(frozen=True, slots=True)
class Requantizer:
    """Constants of the REQUANTIZE stage, by channel, each int32 [C]."""

    bias: Int32
    multiplier: Int32
    shift: Int32
    low: Int32
    high: Int32


def choose_multiplier(ratio: Float64) -> tuple[Int64, Int64]:
    """Return (M, S) with 2^23 ≤ M < 2^24 and M / 2^S nearest to each positive ratio.

    Where S would leave 1 … 47, it is clipped and M is as near as it can be, never below 1.
    """
    mantissa, exponent = np.frexp(ratio)
    multiplier = np.rint(mantissa * 2.0**MULTIPLIER_BITS).astype(np.int64)
    shift = MULTIPLIER_BITS - exponent.astype(np.int64)
    full = multiplier == 1 << MULTIPLIER_BITS
    multiplier = np.where(full, multiplier >> 1, multiplier)
    shift = np.where(full, shift - 1, shift)
    over = np.maximum(shift - SHIFT_MAX, 0)
    multiplier = np.maximum(np.right_shift(multiplier, np.minimum(over, MULTIPLIER_BITS)), 1)
    return multiplier, np.minimum(shift, SHIFT_MAX)


def breakpoints(multiplier: Int64, shift: Int64, levels: Int64) -> Int64:
    """Return the least t with (t · M + 2^(S−1)) >> S ≥ level, [C, levels]."""
    wanted = (2 * levels[None, :] - 1) << (shift[:, None] - 1)
    return -((-wanted) // multiplier[:, None])


def float_agrees(
    multiplier: Int64, shift: Int64, low: int, high: int, least: Int64, most: Int64
) -> Bools:
    """Tell, by channel, whether float32 arithmetic gives the levels of the definition.

    Both are monotone in t = sum + bias, so they agree for every t in [least, most] when they do
    at each breakpoint in that range and one below it.
    """
    levels = np.arange(low + 1, high + 1, dtype=np.int64)
    if levels.size == 0:
        return np.ones(multiplier.shape, np.bool_)
    at = breakpoints(multiplier, shift, levels)
    scale = (multiplier.astype(np.float64) / np.exp2(shift)).astype(np.float32)[:, None]
    inside = (at > least[:, None]) & (at <= most[:, None])
    reached = np.rint(at.astype(np.float32) * scale) >= levels
    before = np.rint((at - 1).astype(np.float32) * scale) < levels
    return np.asarray(np.all((reached & before) | ~inside, axis=1))


def choose_requantizer(
    ratio: Float64,
    bias: Float64,
    low: Int64,
    high: Int64,
    element: LevelType,
    bounds: tuple[Int64, Int64],
) -> Requantizer:
    """Choose bias, multiplier and shift, by channel.

    ``ratio`` is the value of one unit of the sum over the value of one output level (> 0),
    ``bias`` is in units of the sum, ``bounds`` are the least and greatest sums.
    """
    limit = ACCUMULATOR_MAX // 2
    whole = np.clip(np.rint(bias), -limit, limit).astype(np.int64)
    multiplier, shift = choose_multiplier(ratio)
    least, most = bounds[0] + whole, bounds[1] + whole
    chosen = multiplier.copy()
    open_ = ~float_agrees(multiplier, shift, element.minimum, element.maximum, least, most)
    for step in range(1, _TRIES):
        if not open_.any():
            break
        offset = (step + 1) // 2 * (1 if step % 2 else -1)
        rows = np.flatnonzero(open_)
        tried = multiplier[rows] + offset
        fits = (tried > 0) & (tried < 1 << MULTIPLIER_BITS)
        agrees = float_agrees(
            np.where(fits, tried, 1),
            shift[rows],
            element.minimum,
            element.maximum,
            least[rows],
            most[rows],
        )
        good = rows[fits & agrees]
        chosen[good] = multiplier[good] + offset
        open_[good] = False
    return Requantizer(
        whole.astype(np.int32),
        chosen.astype(np.int32),
        shift.astype(np.int32),
        low.astype(np.int32),
        high.astype(np.int32),
    )


def choose_thresholds(
    ratio: Float64, bias: Float64, low: Float64, high: Float64, element: LevelType
) -> Int32:
    """Return int32 thresholds [C, levels − 1]: the least sum that reaches each level.

    The level of sum is round-half-up((sum + bias) · ratio), clamped to [low, high] by channel and
    to the element's levels. A level that a channel cannot have is put out of reach.
    """
    levels = np.arange(element.minimum + 1, element.maximum + 1, dtype=np.float64)
    at = np.ceil((levels[None, :] - 0.5) / ratio[:, None] - bias[:, None])
    limit = float(ACCUMULATOR_MAX)
    at = np.where(levels[None, :] <= low[:, None], -limit - 1, at)
    at = np.where(levels[None, :] > high[:, None], limit, at)
    return np.clip(at, -limit - 1, limit).astype(np.int64).astype(np.int32)


def choose_add(ratio_a: float, ratio_b: float) -> tuple[int, int, int]:
    """Return (multiplier_a, multiplier_b, shift) of a residual Add.

    The ratios are the operands' scales over the output's. The larger multiplier has 15 bits.
    """
    _, exponent = np.frexp(max(ratio_a, ratio_b))
    shift = int(min(max(_ADD_BITS - int(exponent), 1), SHIFT_MAX))
    return (
        max(round(ratio_a * 2.0**shift), 1),
        max(round(ratio_b * 2.0**shift), 1),
        shift,
    )
