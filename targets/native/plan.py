"""A built plan: run batches through it, and say why each layer is exact."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from lowbitc.targets.native.arena import Lifetime, place_values
from lowbitc.targets.native.layers import (
    Channels,
    EnterLayer,
    FusedLayer,
    Layer,
    Value,
    inputs_of,
)
from lowbitc.targets.native.lower import Setting, lower
from lowbitc.targets.native.records import Arrays, Kind, Numbers, Operator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lowbitc.compiler.elements import Array, Int64

Input: TypeAlias = npt.NDArray[np.uint8] | npt.NDArray[np.int8] | npt.NDArray[np.float32]
Output: TypeAlias = npt.NDArray[np.uint8] | npt.NDArray[np.int8] | npt.NDArray[np.int32]

_ARENA_BYTES = 32 << 20  # frames run together as far as their values fit the last cache level
_MAX_PIXELS = 1 << 28


@dataclass(frozen=True, slots=True)
class PlanLayout:
    """The layers of a plan and the values that cross its border."""

    values: tuple[Value, ...]
    layers: tuple[Layer, ...]
    inputs: tuple[EnterLayer, ...]
    outputs: tuple[Value, ...]
    counted: tuple[Channels, ...]


@dataclass(frozen=True, slots=True)
class LayerProof:
    """How a layer is computed, and why that equals its definition."""

    name: str
    reason: str


class Plan:
    """Runs whole batches in the native extension, with the GIL released.

    Results depend neither on the number of threads nor on the batch size. A plan may be shared
    by threads; runs of one process take turns.
    """

    def __init__(self, layout: PlanLayout, *, path: str, batch: int) -> None:
        """Lower the layers; ValueError if one cannot be computed exactly."""
        from lowbitc.targets.native import _kernels  # noqa: PLC0415 - the extension is optional

        path = path or _kernels.paths()[0]
        setting = Setting(path != "generic", path == "avx512_vnni", batch)
        operators = [lower(layer, setting) for layer in layout.layers]
        self.proofs = tuple(
            LayerProof(_name(layer), operator.proof)
            for layer, operator in zip(layout.layers, operators, strict=True)
            if not isinstance(layer, EnterLayer)
        )
        offsets, total = _place(layout)
        for port, value in enumerate(layout.outputs, len(layout.inputs)):
            numbers = Numbers(kind=Kind.LEAVE, source=value.index, target=value.index, port=port)
            operators.append(Operator(numbers, Arrays()))
        for port, part in enumerate(layout.counted, len(layout.inputs) + len(layout.outputs)):
            index = part.value.index
            numbers = Numbers(kind=Kind.COUNT, source=index, target=index, port=port)
            numbers.from_channel, numbers.n = part.first, part.count
            operators.append(Operator(numbers, Arrays()))
        operators = _counted_early(operators)
        self._layout = layout
        self.bytes_per_frame = total
        pixels = max(v.shape[1] * v.shape[2] for v in layout.values)
        self._chunk = max(1, min(_ARENA_BYTES // total, _MAX_PIXELS // pixels))
        self._native = _kernels.Plan(
            path,
            total,
            tuple(
                # A value that was fused away is never touched.
                (*v.shape, 4 if v.raw else 1, int(v.signed), offsets[v.index])
                if v.index in offsets
                else (1, 1, 1, 1, 0, 0)
                for v in layout.values
            ),
            tuple(operator.record() for operator in operators),
        )

    def run(self, inputs: Sequence[Input], threads: int = 1) -> list[Output]:
        """Return the outputs [frames, channels, height, width] for inputs laid out alike.

        Inputs are uint8, int8 where levels are signed, or float32 where the plan quantizes; a
        batch of no frames is refused.
        """
        return self.run_counted(inputs, threads)[0]

    def run_counted(
        self, inputs: Sequence[Input], threads: int = 1
    ) -> tuple[list[Output], list[Int64]]:
        """Also return nonzero levels [height, width] of all frames, for all counted channels."""
        layout = self._layout
        frames = len(inputs[0]) if inputs else 0
        if len(inputs) != len(layout.inputs) or frames < 1:
            raise ValueError(f"expected {len(layout.inputs)} arrays of at least one frame")
        arrays = [
            _checked(array, layer, frames)
            for array, layer in zip(inputs, layout.inputs, strict=True)
        ]
        outputs = [_empty(v, frames) for v in layout.outputs]
        counts = [np.zeros(part.value.shape[1:], np.int64) for part in layout.counted]
        self._native.run((*arrays, *outputs, *counts), frames, self._chunk, threads)
        return outputs, counts


def _name(layer: Layer) -> str:
    if isinstance(layer, EnterLayer):
        return f"input{layer.port}"
    return layer.conv.name if isinstance(layer, FusedLayer) else layer.name


def _dtype(value: Value) -> type[np.uint8 | np.int8 | np.int32]:
    if value.raw:
        return np.int32
    return np.int8 if value.signed else np.uint8


def _empty(value: Value, frames: int) -> Output:
    if value.raw:
        return np.empty((frames, *value.shape), np.int32)
    if value.signed:
        return np.empty((frames, *value.shape), np.int8)
    return np.empty((frames, *value.shape), np.uint8)


def _checked(array: Input, layer: EnterLayer, frames: int) -> Array:
    value = layer.output
    wanted = np.float32 if layer.scale > 0 else _dtype(value)
    if array.dtype != wanted or array.size != frames * value.size_bytes:
        raise ValueError(
            f"expected {frames} frames of {wanted.__name__} {value.shape}, "
            f"found {array.dtype} {array.shape}"
        )
    return np.ascontiguousarray(array, wanted)


def _place(layout: PlanLayout) -> tuple[dict[int, int], int]:
    """Lay out the arena; values that leave or are counted live to the end or to their count."""
    end = len(layout.layers)
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    for position, layer in enumerate(layout.layers):
        first.setdefault(layer.output.index, position)
        last[layer.output.index] = position
        for value in inputs_of(layer):
            last[value.index] = position
    for value in layout.outputs:
        last[value.index] = end
    alive = [v for v in layout.values if v.index in first]
    lifetimes = [Lifetime(v.size_bytes, first[v.index], last[v.index]) for v in alive]
    offsets, total = place_values(lifetimes)
    return {v.index: offset for v, offset in zip(alive, offsets, strict=True)}, total


def _counted_early(operators: list[Operator]) -> list[Operator]:
    """Move each count behind the last writer of its value, before its memory is reused."""
    counts = [o for o in operators if o.numbers.kind == Kind.COUNT]
    order = [o for o in operators if o.numbers.kind != Kind.COUNT]
    for count in counts:
        writers = [
            i
            for i, o in enumerate(order)
            if o.numbers.target == count.numbers.source
            and o.numbers.kind not in {Kind.LEAVE, Kind.COUNT}
        ]
        order.insert(writers[-1] + 1, count)
    return order
