"""Layers of a plan under construction: what is computed, before how is decided."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from lowbitc.compiler.elements import Int8, Int32
    from lowbitc.targets.native.additions import AddStage
    from lowbitc.targets.native.stages import Stage, Table
    from lowbitc.targets.native.window import Window


@dataclass(frozen=True, slots=True)
class Value:
    """Levels of one frame, (channels, height, width), and the range they stay in."""

    index: int
    shape: tuple[int, int, int]
    lo: int
    hi: int
    raw: bool = False

    @property
    def signed(self) -> bool:
        """Whether levels are stored as int8 rather than uint8."""
        return self.lo < 0

    @property
    def size_bytes(self) -> int:
        """Bytes of one frame."""
        channels, height, width = self.shape
        return channels * height * width * (4 if self.raw else 1)


@dataclass(frozen=True, slots=True)
class Channels:
    """Some channels of a value, from ``first`` on."""

    value: Value
    first: int
    count: int


@dataclass(frozen=True, slots=True)
class EnterLayer:
    """A plan's input, read from a frames-first, channels-second array.

    With a scale, the array is float32 and its levels are clamp(round-half-even(x / scale)).
    """

    output: Value
    port: int
    scale: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class ConvLayer:
    """A convolution; ``weights`` is [out, kh, kw, in / groups]."""

    name: str
    input: Value
    output: Value
    weights: Int8
    window: Window
    groups: int
    stage: Stage


@dataclass(frozen=True, slots=True)
class MaxPoolLayer:
    """The largest level of each window; padding is not looked at."""

    name: str
    input: Value
    output: Value
    window: Window


@dataclass(frozen=True, slots=True, eq=False)
class SumPoolLayer:
    """The sum of each window's levels, by place times a factor, through an output stage."""

    name: str
    input: Value
    output: Value
    window: Window
    stage: Stage
    factors: Int32 | None


@dataclass(frozen=True, slots=True)
class AddLayer:
    """A residual Add of two values of one shape."""

    name: str
    input: Value
    other: Value
    output: Value
    stage: AddStage


@dataclass(frozen=True, slots=True)
class FusedLayer:
    """A convolution whose output is added to ``other`` as it is written."""

    conv: ConvLayer
    other: Value
    output: Value
    stage: AddStage


@dataclass(frozen=True, slots=True)
class Axis:
    """Which input row (or column) an output row reads: (start + i * step) // divisor."""

    start: int = 0
    step: int = 1
    divisor: int = 1


@dataclass(frozen=True, slots=True)
class CopyLayer:
    """Channels copied to a place in the output, through a table if there is one."""

    name: str
    input: Value
    output: Value
    channels: int
    from_channel: int
    to_channel: int
    rows: Axis
    columns: Axis
    table: Table | None


Layer: TypeAlias = (
    EnterLayer | ConvLayer | MaxPoolLayer | SumPoolLayer | AddLayer | FusedLayer | CopyLayer
)


def inputs_of(layer: Layer) -> tuple[Value, ...]:
    """Return the values that a layer reads."""
    if isinstance(layer, EnterLayer):
        return ()
    if isinstance(layer, AddLayer):
        return (layer.input, layer.other)
    if isinstance(layer, FusedLayer):
        return (layer.conv.input, layer.other)
    return (layer.input,)
