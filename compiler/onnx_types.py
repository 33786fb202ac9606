"""Element types and value types, as ONNX spells them."""

from __future__ import annotations

import functools

import numpy as np
from onnx import TensorProto, TypeProto, ValueInfoProto, helper

from lowbitc.compiler.elements import LevelType, PlainType
from lowbitc.compiler.ir.types import UNKNOWN, OpaqueType, TensorType, ValueType

UNDEFINED = PlainType("undefined")
STRING = PlainType("string")


def _numpy_name(number: int) -> str:
    return str(helper.tensor_dtype_to_np_dtype(number))


@functools.cache
def _numbers() -> dict[str, int]:
    """Map every spelling of an element type, numpy's and ONNX's, to ONNX's number."""
    found = {"undefined": int(TensorProto.UNDEFINED), "object": int(TensorProto.STRING)}
    for number in TensorProto.DataType.values():
        if number not in {TensorProto.UNDEFINED, TensorProto.STRING}:
            # Older onnx stores what numpy lacks in another type: the first owner of a name stays.
            found.setdefault(_numpy_name(number), int(number))
        found[TensorProto.DataType.Name(number).lower()] = int(number)
    return found


@functools.cache
def plain_type(number: int) -> PlainType:
    """Return the element type with ONNX's ``number``, spelled as numpy does."""
    if number == TensorProto.UNDEFINED:
        return UNDEFINED
    if number == TensorProto.STRING:
        return STRING
    name = _numpy_name(number)
    own = _numbers()[name] == number
    return PlainType(name if own else TensorProto.DataType.Name(number).lower())


def onnx_number(element: PlainType) -> int:
    """Return ONNX's number of an element type; UNDEFINED for a name that ONNX has not."""
    return _numbers().get(element.name, int(TensorProto.UNDEFINED))


def numpy_dtype(element: PlainType | LevelType) -> np.dtype[np.generic]:
    """Return how numpy stores an element type; levels are float32 once dequantized."""
    if isinstance(element, LevelType) or onnx_number(element) == TensorProto.UNDEFINED:
        return np.dtype(np.float32)
    if onnx_number(element) == TensorProto.STRING:
        return np.dtype(object)
    return helper.tensor_dtype_to_np_dtype(onnx_number(element))


def value_info(name: str, held: ValueType | None, samples: str = "") -> ValueInfoProto:
    """Describe a value; with ``samples``, dimension 0 is free and has that name.

    A type that is not known is left out, for the reader to infer.
    """
    info = ValueInfoProto(name=name)
    if isinstance(held, OpaqueType):
        info.type.CopyFrom(TypeProto.FromString(held.proto))
    if not isinstance(held, TensorType):
        return info
    number = TensorProto.FLOAT
    if isinstance(held.element, PlainType):
        number = TensorProto.DataType.ValueType(onnx_number(held.element))
    if number == TensorProto.UNDEFINED:
        return info
    dims: list[int | str | None] | None = None
    if held.shape is not None:
        dims = [None if d == UNKNOWN else d for d in held.shape]
        if samples and dims:
            dims[0] = samples
    info.type.CopyFrom(helper.make_tensor_type_proto(int(number), dims))
    return info
