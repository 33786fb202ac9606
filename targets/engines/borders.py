"""The borders between CPU and chip, in one pass over the data where numpy allows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lowbitc.compiler.diagnostics import InternalError

if TYPE_CHECKING:
    from lowbitc.compiler.elements import Array, Float32
    from lowbitc.compiler.ir.types import TensorType


def quantize_bytes(x: Array, held: TensorType) -> Array:
    """Return clamp(round-half-even(x / scale)) in one byte a level: spec.quantize's values."""
    element = held.levels
    if element is None:
        message = "a border to the chip needs a level type"
        raise InternalError(message)
    steps = np.divide(x, np.float32(held.scale[0]), dtype=np.float32)
    np.rint(steps, out=steps)
    np.clip(steps, element.minimum, element.maximum, out=steps)
    return steps.astype(element.dtype)


def dequantize_sums(levels: Array, held: TensorType, axis: int) -> Float32:
    """Return level · scale in float32: spec.dequantize's values."""
    factors = np.asarray(held.scale, np.float32)
    if factors.size > 1:
        shape = [1] * levels.ndim
        shape[axis] = -1
        factors = np.reshape(factors, shape)
    return np.asarray(levels.astype(np.float32) * factors, np.float32)
