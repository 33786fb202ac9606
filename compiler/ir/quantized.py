"""Integer operators: what the chip runs. compiler/numerics defines their arithmetic.

Activations are levels in layout F,C,spatial… (F frames). The output stage of a node is spelled by
``stage`` and by the constants after its data inputs:

- THRESHOLDS: thresholds int32 [C, 2^b − 1], ascending in each row;
- REQUANTIZE: bias, multiplier, shift, low and high, each int32 [C]; then, with ``table``, a table
  of 256 levels, indexed by the requantized 8-bit level minus the smallest one; ``middle`` is the
  type of that level. ``low`` and ``high`` are the clamp of each channel, so that a batch norm
  after a ReLU is part of the stage;
- ACCUMULATOR: bias int32 [C]; the output is the int32 sum (I32), for the CPU only.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from lowbitc.compiler.ir.node import Node

if TYPE_CHECKING:
    from lowbitc.compiler.elements import LevelType


class Stage(enum.Enum):
    """How accumulators become levels."""

    THRESHOLDS = "thresholds"
    REQUANTIZE = "requantize"
    ACCUMULATOR = "accumulator"


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedNode(Node):
    """A node that accumulates and then runs an output stage."""

    stage: Stage
    table: bool = False
    middle: LevelType | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QConv(StagedNode):
    """Convolution of levels; inputs x, w int8 levels [O,I/groups,kernel…], then the stage's."""

    op: ClassVar[str] = "QConv"
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    pads: tuple[int, ...]
    groups: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class QConvTranspose(StagedNode):
    """Transposed convolution of levels; w has ONNX's layout [I,O/groups,kernel…]."""

    op: ClassVar[str] = "QConvTranspose"
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    pads: tuple[int, ...]
    output_padding: tuple[int, ...]
    groups: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class QDense(StagedNode):
    """Dense layer over the last axis; w int8 levels [O,K]."""

    op: ClassVar[str] = "QDense"


@dataclass(frozen=True, slots=True, kw_only=True)
class QAveragePool(StagedNode):
    """Sum of the levels of a window (padding is level 0), then the stage, which divides.

    Where padding does not count, sums are multiplied by place first (numerics/pool_divisors.py).
    """

    op: ClassVar[str] = "QAveragePool"
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    pads: tuple[int, ...]
    count_padding: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class QMaxPool(Node):
    """Largest level of a window; padding never wins."""

    op: ClassVar[str] = "QMaxPool"
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    pads: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class QAdd(Node):
    """clamp((a · multiplier_a + b · multiplier_b + 2^(shift−1)) >> shift)."""

    op: ClassVar[str] = "QAdd"
    multiplier_a: int
    multiplier_b: int
    shift: int


@dataclass(frozen=True, slots=True, kw_only=True)
class QTable(Node):
    """A table on levels: inputs x and the table, indexed by level − smallest level."""

    op: ClassVar[str] = "QTable"


@dataclass(frozen=True, slots=True, kw_only=True)
class QConcat(Node):
    """Join tensors of one element type and scale."""

    op: ClassVar[str] = "QConcat"
    axis: int


@dataclass(frozen=True, slots=True, kw_only=True)
class QReshape(Node):
    """The same levels in another shape, row-major.

    ``shape`` is that of one sample; for n samples the first dimension is n times as long.
    """

    op: ClassVar[str] = "QReshape"
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class QTranspose(Node):
    """Permute dimensions; frames stay first."""

    op: ClassVar[str] = "QTranspose"
    perm: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class QSlice(Node):
    """x[start:end:step] on each of ``axes``, with step ≥ 1 and 0 ≤ start < end."""

    op: ClassVar[str] = "QSlice"
    starts: tuple[int, ...]
    ends: tuple[int, ...]
    axes: tuple[int, ...]
    steps: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class QUpsample(Node):
    """Nearest-neighbour enlargement by whole factors, one a dimension."""

    op: ClassVar[str] = "QUpsample"
    factors: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class QPad(Node):
    """Level 0 around the tensor, begins then ends of every axis."""

    op: ClassVar[str] = "QPad"
    pads: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantize(Node):
    """Float values to levels: clamp(round-half-even(x / scale)); the scale is the output's."""

    op: ClassVar[str] = "Quantize"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dequantize(Node):
    """Levels to float32: level · scale; the scale is the input's, along ``axis`` if by channel."""

    op: ClassVar[str] = "Dequantize"
    axis: int = 1


WEIGHTED = (QConv, QConvTranspose, QDense)
"""Operators that hold weights."""
COUNTED = (*WEIGHTED, QAveragePool, QMaxPool, QAdd, QTable)
"""Operators that do work for an event; the others only move levels."""
DEVICE_OPS = (*COUNTED, QConcat, QReshape, QTranspose, QSlice, QUpsample, QPad)
"""Operators that run on the chip; Quantize and Dequantize are its borders."""
