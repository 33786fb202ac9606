"""Hand ONNX Runtime arrays of types that numpy lacks: bfloat16, 8-bit floats, 4-bit integers."""

from __future__ import annotations

import ctypes
import functools
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import TensorProto, numpy_helper

if TYPE_CHECKING:
    from lowbitc.compiler.elements import Array

_NATIVE = frozenset(
    {
        *("float", "double", "float16", "string", "bool", "undefined", "complex64", "complex128"),
        *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    }
)


@functools.cache
def foreign_number(spelled: str) -> int:
    """Return ONNX's number of a type like ``tensor(bfloat16)``; 0 where numpy has the type."""
    name = spelled.removeprefix("tensor(").removesuffix(")")
    if name == spelled or name in _NATIVE:
        return 0
    by_name = {known.lower(): number for known, number in TensorProto.DataType.items()}
    return int(by_name.get(name, 0))


def to_ort_value(array: Array, number: int, ort_value: Any) -> Any:  # noqa: ANN401 - ONNX Runtime has no types
    """Copy an array into a new OrtValue; ``ort_value`` is ONNX Runtime's class."""
    if not number:
        return ort_value.ortvalue_from_numpy(np.asarray(array, order="C"))
    made = ort_value.ortvalue_from_shape_and_type(list(array.shape), number)
    data = numpy_helper.from_array(array).raw_data  # packed as ONNX packs elements below 8 bits
    ctypes.memmove(made.data_ptr(), data, len(data))
    return made


def from_ort_value(held: Any, number: int) -> Array:  # noqa: ANN401 - ONNX Runtime has no types
    """Copy the array out of an OrtValue."""
    if not number:
        found: Array = held.numpy()
        return found
    shape = [int(d) for d in held.shape()]
    proto = TensorProto(data_type=number, dims=shape)
    empty = numpy_helper.from_array(
        np.zeros(shape, numpy_helper.to_array(TensorProto(data_type=number, dims=[0])).dtype)
    )
    proto.raw_data = ctypes.string_at(held.data_ptr(), len(empty.raw_data))
    return numpy_helper.to_array(proto)
