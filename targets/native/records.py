"""Operators as the extension reads them: fixed lists of integers, floats and arrays.

The order of the fields is the order of the enumerations in ``parse.h``.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from lowbitc.targets.native.stages import (
    FloatForm,
    Form,
    Raw,
    Requantize,
    Stage,
    Thresholds,
    fit_float_form,
)

if TYPE_CHECKING:
    from lowbitc.compiler.elements import Array, Int64
    from lowbitc.targets.native.additions import AddStage, ProvedAdd
    from lowbitc.targets.native.window import Window

_PAD = 16  # the kernels read whole tiles of per-channel arrays


class Kind(enum.IntEnum):
    """What an operator does."""

    ENTER = 0
    LEAVE = 1
    CONV = 2
    MAXPOOL = 3
    SUMPOOL = 4
    ADD = 5
    COPY = 6
    COUNT = 7


@dataclass(slots=True, kw_only=True)
class Numbers:
    """The integers of an operator."""

    kind: Kind
    source: int
    other: int = -1
    target: int
    port: int = -1
    kernel_h: int = 1
    kernel_w: int = 1
    stride_h: int = 1
    stride_w: int = 1
    top: int = 0
    left: int = 0
    dilation_h: int = 1
    dilation_w: int = 1
    groups: int = 1
    algorithm: int = 0
    chunk: int = 1
    narrow: int = 0
    signed: int = 0
    raw: int = 0
    count: int = 0
    lowest: int = 0
    add_form: int = 0
    add_lo: int = 0
    add_hi: int = 0
    add_a_signed: int = 0
    add_ma: int = 0
    add_mb: int = 0
    add_round: int = 0
    add_shift: int = 0
    n: int = 0
    from_channel: int = 0
    to_channel: int = 0
    y_start: int = 0
    y_step: int = 1
    y_divisor: int = 1
    x_start: int = 0
    x_step: int = 1
    x_divisor: int = 1
    is_float: int = 0
    enter_lo: int = 0
    enter_hi: int = 0

    def set_window(self, window: Window) -> None:
        """Take over a window; the output's size is the value's."""
        self.kernel_h, self.kernel_w = window.kernel
        self.stride_h, self.stride_w = window.stride
        self.top, self.left = window.pads[:2]
        self.dilation_h, self.dilation_w = window.dilation


@dataclass(slots=True)
class Arrays:
    """The arrays of an operator; per-channel ones are padded by a tile."""

    weights: Array | None = None
    low: Array | None = None
    high: Array | None = None
    scale: Array | None = None
    offset: Array | None = None
    limit: Array | None = None
    multiplier: Array | None = None
    rounding: Array | None = None
    shift: Array | None = None
    bias: Array | None = None
    base: Array | None = None
    acc_lo: Array | None = None
    acc_hi: Array | None = None
    below: Array | None = None
    form: Array | None = None
    table: Array | None = None
    pairs: Array | None = None
    add_table: Array | None = None
    factors: Array | None = None


Record: TypeAlias = "tuple[tuple[int, ...], tuple[float, ...], tuple[Array | None, ...]]"


@dataclass(slots=True)
class Operator:
    """One operator of a plan before it is handed to the extension."""

    numbers: Numbers
    arrays: Arrays
    floats: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    proof: str = ""

    def record(self) -> Record:
        """Return the operator as the extension reads it."""
        return (
            tuple(int(getattr(self.numbers, f.name)) for f in fields(Numbers)),
            self.floats,
            tuple(getattr(self.arrays, f.name) for f in fields(Arrays)),
        )

    def set_stage(self, stage: Stage, acc_min: Int64, acc_max: Int64) -> None:
        """Prove the stage's forms for every accumulator in range and take them over."""
        if isinstance(stage, Raw):
            self.numbers.raw = 1
            self.proof = "raw accumulators"
            return
        arrays = self.arrays
        low, high = stage.levels(np.stack([acc_min, acc_max], axis=1)).T
        arrays.low, arrays.high = _padded(low.astype(np.uint8)), _padded(high.astype(np.uint8))
        fit = fit_float_form(stage, acc_min, acc_max)
        arrays.scale, arrays.offset = _padded(fit.scale), _padded(fit.offset)
        arrays.limit = _padded(fit.limit)
        arrays.table = None if stage.table is None else stage.table.bytes
        self.numbers.signed = int(stage.signed)
        if isinstance(stage, Thresholds):
            self._set_thresholds(stage, fit)
        else:
            self._set_requantize(stage, fit, acc_min, acc_max)
        slower = "compares" if isinstance(stage, Thresholds) else "64-bit integers"
        channels = fit.proved.size
        self.proof = (
            f"float32 proved on {int(fit.proved.sum())} and checked on {int(fit.checked.sum())} "
            f"of {channels} channels, else {slower}"
        )

    def _set_thresholds(self, stage: Thresholds, fit: FloatForm) -> None:
        # One compare is cheaper than the float form.
        use_float = fit.proved if stage.values.shape[1] > 1 else np.zeros_like(fit.proved)
        limits = np.iinfo(np.int32)
        below = np.clip(stage.values - 1, limits.min, limits.max).astype(np.int32)
        self.numbers.count, self.numbers.lowest = stage.values.shape[1], stage.lo
        self.arrays.below = np.ascontiguousarray(np.pad(below.T, ((0, 0), (0, _PAD))))
        self.arrays.form = _padded(np.where(use_float, Form.FLOAT, Form.COUNT).astype(np.uint8))

    def _set_requantize(
        self, stage: Requantize, fit: FloatForm, acc_min: Int64, acc_max: Int64
    ) -> None:
        first, last = stage.end_steps()
        acc_lo = np.clip(first - 1, acc_min, acc_max)
        acc_hi = np.clip(last, acc_min, acc_max)
        multiplier, shift, bias = stage.multiplier, stage.shift, stage.bias
        # At acc_lo and acc_hi a level may be overshot by what one accumulator step is worth.
        base = stage.lo - (multiplier >> shift) - 2
        rounding = (np.int64(1) << (shift - 1)) - (base << shift)
        low, high = stage.levels(np.stack([acc_min, acc_max], axis=1)).T
        constant = low == high
        base, rounding = np.where(constant, low, base), np.where(constant, 0, rounding)
        multiplier, bias = np.where(constant, 0, multiplier), np.where(constant, 0, bias)
        if max(np.abs(acc_lo + bias).max(), np.abs(acc_hi + bias).max()) >= 2**31:
            raise ValueError("accumulator plus bias exceeds int32")
        arrays = self.arrays
        arrays.multiplier, arrays.rounding = _padded(multiplier), _padded(rounding)
        arrays.shift = _padded(shift)
        arrays.bias, arrays.base = _padded(bias.astype(np.int32)), _padded(base.astype(np.int32))
        arrays.acc_lo = _padded(acc_lo.astype(np.int32))
        arrays.acc_hi = _padded(acc_hi.astype(np.int32))
        form = np.where(fit.proved, Form.FLOAT, np.where(fit.checked, Form.CHECKED, Form.EXACT))
        arrays.form = _padded(form.astype(np.uint8))

    def set_add(self, add: ProvedAdd, stage: AddStage, *, a_signed: bool) -> None:
        """Take over a proved Add."""
        numbers = self.numbers
        numbers.add_form, numbers.add_lo, numbers.add_hi = add.form, stage.lo, stage.hi
        numbers.add_a_signed = int(a_signed)
        numbers.add_ma, numbers.add_mb = add.multiplier_a, add.multiplier_b
        numbers.add_round, numbers.add_shift = add.rounding, add.shift
        self.floats = (add.scale_a, add.scale_b, add.offset, 0.0)
        self.arrays.pairs = add.pairs
        self.arrays.add_table = None if stage.table is None else stage.table.bytes


def _padded(array: Array) -> Array:
    """Return a per-channel array with a tile of zeros behind it."""
    return np.concatenate([array, np.zeros(_PAD, array.dtype)])
