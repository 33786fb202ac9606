"""Output stages of native layers, and the proof of which of their forms is exact.

A stage maps int32 accumulators to levels and never decreases, so two of its implementations agree
on a whole range of accumulators if they agree at both ends and on both sides of every step. That
is how the float32 form of the kernels, ``rne(float32(acc) * scale + offset)``, is proved equal to
the integer definition, channel by channel.

Eight-bit levels of long sums are often too fine for that. Such a channel still runs in float32, but
each value's distance from the level it is rounded to is checked against what float32's errors
could add up to, and the few values too close to call are computed again in integers.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from lowbitc.compiler.elements import Bools, Float32, Float64, Int64

MULTIPLIER_BITS = 24
SHIFT_MAX = 47
BYTE_MIN, BYTE_MAX = -128, 255
_INT8_MAX = 127
_ENTRIES = 256
_UNREACHABLE = 2**40
_LARGEST_OFFSET = 2.0**12
_LARGEST_LEVEL = 2.0**30  # float results beyond this could wrap in the conversion to int32


class Form(enum.IntEnum):
    """How the kernels compute a channel's levels."""

    FLOAT = 0
    CHECKED = 1
    EXACT = 2
    COUNT = 3


@dataclass(frozen=True, slots=True)
class Table:
    """A 256-entry table, indexed by a level's byte (two's complement where levels are signed)."""

    levels: tuple[int, ...]

    def __post_init__(self) -> None:
        """Refuse what no byte stream holds."""
        _check_range(min(self.levels), max(self.levels))
        if len(self.levels) != _ENTRIES:
            raise ValueError(f"a table has 256 entries, found {len(self.levels)}")

    @property
    def bytes(self) -> npt.NDArray[np.uint8]:
        """The table as the kernels read it."""
        return np.asarray(self.levels, np.int64).astype(np.uint8)


@dataclass(frozen=True, slots=True, eq=False)
class Requantize:
    """``clamp(((acc + bias) * multiplier + 2^(shift-1)) >> shift, lo, hi)``, then the table.

    All int64 [channels]: bias in int32's range, multiplier in [1, 2^24), shift in [1, 47].
    """

    bias: Int64
    multiplier: Int64
    shift: Int64
    lo: Int64
    hi: Int64
    table: Table | None = None

    def __post_init__(self) -> None:
        """Refuse fields outside their ranges."""
        _check_range(int(self.lo.min()), int(self.hi.max()))
        inside = (
            bool(np.all((self.multiplier >= 1) & (self.multiplier < 1 << MULTIPLIER_BITS)))
            and bool(np.all((self.shift >= 1) & (self.shift <= SHIFT_MAX)))
            and bool(np.all(np.abs(self.bias) < 1 << 31))
            and bool(np.all(self.lo <= self.hi))
        )
        if not inside:
            raise ValueError(
                "requantize needs 1 <= multiplier < 2^24, 1 <= shift <= 47, lo <= hi, int32 bias"
            )

    @property
    def channels(self) -> int:
        """How many channels the stage has."""
        return self.bias.size

    @property
    def signed(self) -> bool:
        """Whether levels before the table are int8."""
        return bool(self.lo.min() < 0)

    @property
    def range(self) -> tuple[int, int]:
        """Smallest and largest level before the table."""
        return int(self.lo.min()), int(self.hi.max())

    def levels(self, acc: Int64) -> Int64:
        """Evaluate the definition, before the table; ``acc`` is [channels, any]."""
        half = np.int64(1) << (self.shift - 1)
        product = (acc + self.bias[:, None]) * self.multiplier[:, None] + half[:, None]
        levels: Int64 = np.clip(product >> self.shift[:, None], self.lo[:, None], self.hi[:, None])
        return levels

    def steps(self) -> Int64:
        """Return the smallest accumulator of each level above the lowest: [channels, levels - 1].

        A level that a channel's clamp excludes is always or never reached.
        """
        least, most = self.range
        level = np.arange(least + 1, most + 1, dtype=np.int64)[None, :]
        steps = self._reach(level)
        steps = np.where(level <= self.lo[:, None], -_UNREACHABLE, steps)
        return np.where(level > self.hi[:, None], _UNREACHABLE, steps)

    def end_steps(self) -> tuple[Int64, Int64]:
        """Return the smallest accumulators of each channel's second and last level."""
        return self._reach(self.lo[:, None] + 1)[:, 0], self._reach(self.hi[:, None])[:, 0]

    def _reach(self, level: Int64) -> Int64:
        half = np.int64(1) << (self.shift - 1)
        target = (level << self.shift[:, None]) - half[:, None]
        return -(-target // self.multiplier[:, None]) - self.bias[:, None]


@dataclass(frozen=True, slots=True, eq=False)
class Thresholds:
    """``lo`` plus the number of thresholds that the accumulator reaches.

    ``values`` is [channels, n], sorted along n, any int64.
    """

    values: Int64
    lo: int = 0
    table: Table | None = None

    def __post_init__(self) -> None:
        """Refuse unsorted rows and levels that no byte holds."""
        _check_range(*self.range)
        if self.values.shape[1] < 1 or bool(np.any(np.diff(self.values, axis=1) < 0)):
            raise ValueError("thresholds are sorted and at least one a channel")

    @property
    def channels(self) -> int:
        """How many channels the stage has."""
        return len(self.values)

    @property
    def signed(self) -> bool:
        """Whether levels before the table are int8."""
        return self.lo < 0

    @property
    def range(self) -> tuple[int, int]:
        """Smallest and largest level before the table."""
        return self.lo, self.lo + len(self.values[0])

    def levels(self, acc: Int64) -> Int64:
        """Evaluate the definition, before the table; ``acc`` is [channels, any]."""
        reached = acc[:, :, None] >= self.values[:, None, :]
        levels: Int64 = np.int64(self.lo) + reached.sum(axis=2, dtype=np.int64)
        return levels

    def steps(self) -> Int64:
        """Return the smallest accumulator of each level above ``lo``."""
        return self.values


@dataclass(frozen=True, slots=True)
class Raw:
    """The int32 accumulators themselves; only a plan's output can be raw."""


Stage: TypeAlias = Requantize | Thresholds | Raw


@dataclass(frozen=True, slots=True, eq=False)
class FloatForm:
    """``rne(float32(acc) * scale + offset)`` per channel.

    It is exact for every accumulator where ``proved``; where ``checked``, for every accumulator
    that it rounds by at most ``limit`` levels.
    """

    scale: Float32
    offset: Float32
    limit: Float32
    proved: Bools
    checked: Bools


def fit_float_form(stage: Requantize | Thresholds, acc_min: Int64, acc_max: Int64) -> FloatForm:
    """Find and prove a float form for every accumulator in [acc_min, acc_max], per channel."""
    channels = acc_min.size
    steps = stage.steps()
    reached = (steps > acc_min[:, None]) & (steps <= acc_max[:, None])
    ends = np.stack([acc_min, acc_max], axis=1)
    inside = np.clip(steps, acc_min[:, None], acc_max[:, None])
    before = np.clip(steps - 1, acc_min[:, None], acc_max[:, None])
    points = np.concatenate([ends, inside, before], axis=1)
    expected = stage.levels(points)
    first, last = expected[:, 0], expected[:, 1]
    slopes = _slopes(stage, steps, reached)
    scale = np.zeros(channels, np.float32)
    offset = np.zeros(channels, np.float32)
    proved = np.zeros(channels, np.bool_)
    for slope in slopes:
        trial_scale = slope.astype(np.float32)
        trial_offset = _centre(steps, reached, trial_scale, first, stage.range[0])
        product = points.astype(np.float32) * trial_scale[:, None] + trial_offset[:, None]
        equal = np.clip(np.rint(product), first[:, None], last[:, None]) == expected
        good = np.all(equal & (np.abs(product) < _LARGEST_LEVEL), axis=1) & ~proved
        scale[good], offset[good] = trial_scale[good], trial_offset[good]
        proved |= good
    limit = np.ones(channels, np.float32)
    checked = np.zeros(channels, np.bool_)
    if isinstance(stage, Requantize):
        plain_scale, plain_offset, plain_limit = _error_bound(stage)
        largest = np.abs(ends.astype(np.float64) * plain_scale[:, None] + plain_offset[:, None])
        checked = ~proved & (plain_limit > 0) & np.all(largest < _LARGEST_LEVEL, axis=1)
        scale[checked], offset[checked] = plain_scale[checked], plain_offset[checked]
        limit[checked] = plain_limit[checked]
    return FloatForm(scale, offset, limit, proved, checked)


def _error_bound(stage: Requantize) -> tuple[Float32, Float32, Float32]:
    """Return scale, offset and the rounding distance up to which float32 cannot err.

    With u = 2^-24 and |level| <= 257, the conversion of the accumulator, the rounding of scale and
    the product each err by at most u (257 + |offset|), the rounding of offset by u |offset| and the
    sum by 258 u. Larger levels are clamped, and err by far less than they exceed the clamp as long
    as the offset is small. 2 % are added for products of errors.
    """
    exact_scale = stage.multiplier / np.exp2(stage.shift)
    exact_offset = stage.bias * exact_scale
    size = np.abs(exact_offset)
    error = (3 * (257 + size) + size + 258) * 2.0**-24 * 1.02
    limit = np.where(size < _LARGEST_OFFSET, 0.5 - error, 0.0)
    return (
        exact_scale.astype(np.float32),
        exact_offset.astype(np.float32),
        np.nextafter(limit.astype(np.float32), np.float32(0)),
    )


def _slopes(stage: Requantize | Thresholds, steps: Int64, reached: Bools) -> tuple[Float64, ...]:
    """Return slopes to try: the definition's own and its neighbours, or the best through steps."""
    if isinstance(stage, Requantize):
        slope = stage.multiplier / np.exp2(stage.shift)
        single = slope.astype(np.float32)
        up = np.nextafter(single, np.float32(np.inf)).astype(np.float64)
        down = np.nextafter(single, np.float32(0)).astype(np.float64)
        return (slope, up, down)
    n = steps.shape[1]
    best = np.ones(steps.shape[0])
    spread = np.full(steps.shape[0], np.inf)
    level = np.arange(n, dtype=np.float64)
    for i in range(n):
        for j in range(i + 1, n):
            run = (steps[:, j] - steps[:, i]).astype(np.float64)
            slope = (j - i) / np.maximum(run, 1.0)
            error = level[None, :] - slope[:, None] * (steps - steps[:, :1])
            high = np.max(np.where(reached, error, -np.inf), axis=1)
            low = np.min(np.where(reached, error, np.inf), axis=1)
            better = reached[:, i] & reached[:, j] & (run > 0) & ((high - low) / slope < spread)
            spread[better] = ((high - low) / slope)[better]
            best[better] = slope[better]
    return (best,)


def _centre(steps: Int64, reached: Bools, scale: Float32, first: Int64, lo: int) -> Float32:
    """Return the offset that puts the steps' midpoints closest to where rounding changes."""
    level = np.arange(steps.shape[1], dtype=np.float64) + lo + 0.5
    error = level[None, :] - scale.astype(np.float64)[:, None] * (steps - 0.5)
    high = np.max(np.where(reached, error, -np.inf), axis=1)
    low = np.min(np.where(reached, error, np.inf), axis=1)
    constant = ~np.any(reached, axis=1)
    scale[constant] = 0.0
    high[constant] = low[constant] = first[constant]
    centre: Float32 = ((high + low) / 2).astype(np.float32)
    return centre


def _check_range(lo: int, hi: int) -> None:
    """Refuse level ranges that neither uint8 nor int8 holds."""
    if lo > hi or lo < BYTE_MIN or hi > (_INT8_MAX if lo < 0 else BYTE_MAX):
        raise ValueError(f"levels from {lo} to {hi} fit neither uint8 nor int8")
