"""Decide how each layer is computed, and prove that it is exact."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lowbitc.targets.native.additions import AddStage, prove_add
from lowbitc.targets.native.algorithms import (
    Algorithm,
    LayerShape,
    accumulator_bounds,
    choose_algorithm,
)
from lowbitc.targets.native.layers import (
    AddLayer,
    ConvLayer,
    CopyLayer,
    EnterLayer,
    FusedLayer,
    Layer,
    MaxPoolLayer,
    SumPoolLayer,
    Value,
)
from lowbitc.targets.native.records import Arrays, Kind, Numbers, Operator

if TYPE_CHECKING:
    from lowbitc.compiler.elements import Int64
    from lowbitc.targets.native.window import Window

_INT32_MAX = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Setting:
    """What choices depend on besides the layer: what the path has, and the batch size."""

    fast: bool
    dot8: bool
    batch: int


@functools.singledispatch
def lower(layer: Layer, _setting: Setting) -> Operator:
    """Return the layer as an operator of the extension."""
    raise TypeError(f"no kernel for {type(layer).__name__}")


@lower.register
def _(layer: EnterLayer, _setting: Setting) -> Operator:
    index = layer.output.index
    numbers = Numbers(kind=Kind.ENTER, source=index, target=index, port=layer.port)
    numbers.is_float = int(layer.scale > 0)
    numbers.enter_lo, numbers.enter_hi = layer.output.lo, layer.output.hi
    return Operator(numbers, Arrays(), floats=(0.0, 0.0, 0.0, layer.scale))


@lower.register
def _(layer: ConvLayer, setting: Setting) -> Operator:
    shape = LayerShape(
        layer.input.shape[0],
        layer.output.shape[0],
        layer.output.shape[1],
        layer.output.shape[2],
        layer.groups,
        layer.window,
    )
    lo, hi = layer.input.lo, layer.input.hi
    low, high = accumulator_bounds(layer.weights, lo, hi)
    if max(-int(low.min()), int(high.max())) > _INT32_MAX:
        raise ValueError(
            f"{layer.name}: sums from {int(low.min())} to {int(high.max())} exceed int32"
        )
    choice = choose_algorithm(
        shape, layer.weights, (lo, hi), fast=setting.fast, dot8=setting.dot8, batch=setting.batch
    )
    numbers = Numbers(
        kind=Kind.CONV,
        source=layer.input.index,
        target=layer.output.index,
        groups=layer.groups,
        algorithm=choice.algorithm,
        chunk=choice.chunk,
        narrow=int(choice.narrow),
    )
    numbers.set_window(layer.window)
    operator = Operator(numbers, Arrays(weights=np.ascontiguousarray(layer.weights)))
    operator.set_stage(layer.stage, low, high)
    name = Algorithm(choice.algorithm).name.lower()
    operator.proof = f"{name}: {choice.reason}; stage: {operator.proof}"
    return operator


@lower.register
def _(layer: FusedLayer, setting: Setting) -> Operator:
    operator = lower(layer.conv, setting)
    operator.numbers.other = layer.other.index
    operator.numbers.target = layer.output.index
    _set_add(operator, layer.conv.output, layer.other, layer.stage)
    return operator


@lower.register
def _(layer: AddLayer, _setting: Setting) -> Operator:
    numbers = Numbers(
        kind=Kind.ADD,
        source=layer.input.index,
        other=layer.other.index,
        target=layer.output.index,
    )
    operator = Operator(numbers, Arrays())
    _set_add(operator, layer.input, layer.other, layer.stage)
    return operator


@lower.register
def _(layer: MaxPoolLayer, _setting: Setting) -> Operator:
    numbers = Numbers(kind=Kind.MAXPOOL, source=layer.input.index, target=layer.output.index)
    numbers.set_window(layer.window)
    return Operator(numbers, Arrays(), proof="compares bytes")


@lower.register
def _(layer: SumPoolLayer, _setting: Setting) -> Operator:
    numbers = Numbers(kind=Kind.SUMPOOL, source=layer.input.index, target=layer.output.index)
    numbers.set_window(layer.window)
    operator = Operator(numbers, Arrays(factors=layer.factors))
    largest = layer.window.kernel[0] * layer.window.kernel[1]
    if layer.factors is not None:
        largest = int((_levels_held(layer) * layer.factors).max())
    ones = np.ones(layer.output.shape[0], np.int64)
    low, high = min(layer.input.lo, 0) * largest, max(layer.input.hi, 0) * largest
    if max(-low, high) > _INT32_MAX:
        raise ValueError(f"{layer.name}: sums from {low} to {high} exceed int32")
    operator.set_stage(layer.stage, ones * low, ones * high)
    return operator


@lower.register
def _(layer: CopyLayer, _setting: Setting) -> Operator:
    numbers = Numbers(
        kind=Kind.COPY,
        source=layer.input.index,
        target=layer.output.index,
        n=layer.channels,
        from_channel=layer.from_channel,
        to_channel=layer.to_channel,
        y_start=layer.rows.start,
        y_step=layer.rows.step,
        y_divisor=layer.rows.divisor,
        x_start=layer.columns.start,
        x_step=layer.columns.step,
        x_divisor=layer.columns.divisor,
    )
    table = None if layer.table is None else layer.table.bytes
    return Operator(numbers, Arrays(table=table), proof="copies bytes")


def _levels_held(layer: SumPoolLayer) -> Int64:
    """Return how many levels each window of a pool holds, [rows, columns]."""
    window = layer.window
    axes = (
        _taps_inside(layer.input.shape[1 + i], layer.output.shape[1 + i], window, i) for i in (0, 1)
    )
    return np.asarray(np.multiply.outer(*axes), np.int64)


def _taps_inside(size: int, outputs: int, window: Window, axis: int) -> Int64:
    starts = np.arange(outputs) * window.stride[axis] - window.pads[axis]
    taps = np.add.outer(starts, np.arange(window.kernel[axis]) * window.dilation[axis])
    return np.asarray(np.count_nonzero((taps >= 0) & (taps < size), axis=1), np.int64)


def _set_add(operator: Operator, a: Value, b: Value, stage: AddStage) -> None:
    proved = prove_add(stage, a_signed=a.signed, b_signed=b.signed)
    operator.set_add(proved, stage, a_signed=a.signed)
    separator = "; " if operator.proof else ""
    operator.proof += f"{separator}add: {proved.form.name.lower()} on all 65,536 pairs"
