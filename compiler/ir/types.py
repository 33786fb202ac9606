"""Types of values."""

from __future__ import annotations

import math
from dataclasses import dataclass

from lowbitc.compiler.elements import ElementType, LevelType

UNKNOWN = -1


@dataclass(frozen=True, slots=True)
class TensorType:
    """A tensor: its shape, element type and, where it holds levels, its scale.

    A dimension of ``UNKNOWN`` depends on the data; a shape of None has unknown rank: both only
    between nodes that stay on the CPU. ``scale`` has one entry for activations; for weights and
    accumulators one an output channel.
    """

    shape: tuple[int, ...] | None
    element: ElementType
    scale: tuple[float, ...] = ()

    @property
    def known(self) -> bool:
        """Whether every dimension is a number."""
        return self.shape is not None and all(d != UNKNOWN for d in self.shape)

    @property
    def size(self) -> int:
        """Number of elements; 0 where the shape is not known."""
        return math.prod(self.shape or (0,)) if self.known and self.shape != () else int(self.known)

    @property
    def dims(self) -> tuple[int, ...]:
        """Shape of a tensor that is known to have one."""
        return self.shape or ()

    @property
    def levels(self) -> LevelType | None:
        """Element type when the tensor is quantized, else None."""
        return self.element if isinstance(self.element, LevelType) else None


@dataclass(frozen=True, slots=True)
class OpaqueType:
    """A value that is no tensor (a sequence, an optional, a map): an ONNX TypeProto's bytes."""

    proto: bytes


ValueType = TensorType | OpaqueType


@dataclass(frozen=True, slots=True)
class Clip:
    """How an activation is quantized: value = (level - zero) · scale.

    ``zero`` is 0 for all that leaves a layer; sums that a table follows may be moved.
    """

    element: LevelType
    scale: float
    zero: int = 0
