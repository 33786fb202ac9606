"""Residual Add of two byte streams: its definition, and the fastest form that equals it.

Two 8-bit streams have 65,536 input pairs, so every form is proved by running them all.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lowbitc.targets.native.stages import (
    BYTE_MAX,
    BYTE_MIN,
    MULTIPLIER_BITS,
    SHIFT_MAX,
    Table,
)

_INT16_MAX = 32767


class AddForm(enum.IntEnum):
    """How the kernels add."""

    INT16 = 0
    FLOAT = 1
    TABLE = 2


@dataclass(frozen=True, slots=True)
class AddStage:
    """``clamp((a * multiplier_a + b * multiplier_b + 2^(shift-1)) >> shift)``, then a table.

    Multipliers below 2^15 run fastest and need no search; up to 2^24 are allowed, and shifts
    from 1 to 47.
    """

    multiplier_a: int
    multiplier_b: int
    shift: int
    lo: int
    hi: int
    table: Table | None = None

    def __post_init__(self) -> None:
        """Refuse fields outside their ranges."""
        widest = max(abs(self.multiplier_a), abs(self.multiplier_b))
        in_range = widest < 1 << MULTIPLIER_BITS and 1 <= self.shift <= SHIFT_MAX
        if not in_range or not BYTE_MIN <= self.lo <= self.hi <= BYTE_MAX:
            raise ValueError("an Add needs |multiplier| < 2^24, 1 <= shift <= 47 and byte levels")

    def swapped(self) -> AddStage:
        """Return the same stage with its inputs exchanged."""
        return AddStage(
            self.multiplier_b, self.multiplier_a, self.shift, self.lo, self.hi, self.table
        )


@dataclass(frozen=True, slots=True, eq=False)
class ProvedAdd:
    """An Add in the form that was proved; ``pairs`` is its definition on all byte pairs."""

    form: AddForm
    multiplier_a: int
    multiplier_b: int
    rounding: int
    shift: int
    scale_a: float
    scale_b: float
    offset: float
    pairs: npt.NDArray[np.uint8]


def prove_add(stage: AddStage, *, a_signed: bool, b_signed: bool) -> ProvedAdd:
    """Return the fastest form that equals the definition on all 65,536 pairs."""
    a, b = _levels(signed=a_signed)[:, None], _levels(signed=b_signed)[None, :]
    half = 1 << (stage.shift - 1)
    exact = np.clip(
        (a * stage.multiplier_a + b * stage.multiplier_b + half) >> stage.shift, stage.lo, stage.hi
    )
    pairs = np.ascontiguousarray(exact.astype(np.uint8))
    widest = max(abs(stage.multiplier_a), abs(stage.multiplier_b))
    drop = max(0, widest.bit_length() - 15, stage.shift - 30)
    for extra in range(2):
        cut = drop + extra
        shift = stage.shift - cut
        ma, mb = _scaled(stage.multiplier_a, cut), _scaled(stage.multiplier_b, cut)
        if shift < 1 or max(abs(ma), abs(mb)) > _INT16_MAX:
            continue
        rounding = 1 << (shift - 1)
        # Below 2^31 by far: |a|, |b| <= 255 and multipliers below 2^15, rounding below 2^30.
        trial = np.clip((a * ma + b * mb + rounding) >> shift, stage.lo, stage.hi)
        if np.array_equal(trial, exact):
            return ProvedAdd(AddForm.INT16, ma, mb, rounding, shift, 0.0, 0.0, 0.0, pairs)
    scale_a = np.float32(stage.multiplier_a / 2.0**stage.shift)
    scale_b = np.float32(stage.multiplier_b / 2.0**stage.shift)
    for nudge in (0.0, 2.0**-12, 2.0**-16):
        offset = np.float32(nudge)
        product = (a.astype(np.float32) * scale_a + b.astype(np.float32) * scale_b) + offset
        trial = np.clip(np.rint(product), stage.lo, stage.hi)
        # The kernel narrows through int16 before it clamps, which saturates and so changes nothing.
        if np.array_equal(trial, exact) and float(np.abs(product).max()) < 2.0**30:
            return ProvedAdd(
                AddForm.FLOAT, 0, 0, 0, 0, float(scale_a), float(scale_b), float(offset), pairs
            )
    return ProvedAdd(AddForm.TABLE, 0, 0, 0, 0, 0.0, 0.0, 0.0, pairs)


def _levels(*, signed: bool) -> npt.NDArray[np.int64]:
    """Return the level of each byte."""
    byte = np.arange(256, dtype=np.uint8)
    return (byte.view(np.int8) if signed else byte).astype(np.int64)


def _scaled(multiplier: int, cut: int) -> int:
    """Return the multiplier without its last ``cut`` bits, rounded."""
    return (multiplier + ((1 << cut) >> 1)) >> cut
