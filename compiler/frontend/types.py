"""Types of values, between ONNX's TypeProto and lowbitc's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx import TensorProto, TypeProto

from lowbitc.compiler.elements import PlainType
from lowbitc.compiler.ir.types import UNKNOWN, OpaqueType, TensorType, ValueType
from lowbitc.compiler.onnx_types import onnx_number, plain_type

if TYPE_CHECKING:
    from collections.abc import Mapping


_ELEMENTS = frozenset(TensorProto.DataType.values()) - {TensorProto.UNDEFINED}


def value_type(proto: TypeProto, sizes: Mapping[str, int]) -> ValueType | None:
    """Translate a type; ``sizes`` are of symbolic dimensions. None where the type says nothing."""
    if not proto.HasField("tensor_type"):
        if proto.WhichOneof("value") is None:
            return None
        return OpaqueType(proto.SerializeToString(deterministic=True))
    tensor = proto.tensor_type
    if tensor.elem_type not in _ELEMENTS:
        return None
    element = plain_type(tensor.elem_type)
    if not tensor.HasField("shape"):
        return TensorType(None, element)
    dims = tuple(
        dim.dim_value if dim.HasField("dim_value") else sizes.get(dim.dim_param, UNKNOWN)
        for dim in tensor.shape.dim
    )
    return TensorType(tuple(d if d >= 0 else UNKNOWN for d in dims), element)


def type_proto(held: ValueType) -> TypeProto:
    """Translate a type back, for shape inference; empty where nothing is known."""
    proto = TypeProto()
    if isinstance(held, OpaqueType):
        proto.ParseFromString(held.proto)
        return proto
    if not isinstance(held.element, PlainType) or not onnx_number(held.element):
        return proto
    proto.tensor_type.elem_type = onnx_number(held.element)
    if held.shape is not None:
        proto.tensor_type.shape.SetInParent()
        for size in held.shape:
            dim = proto.tensor_type.shape.dim.add()
            if size != UNKNOWN:
                dim.dim_value = size
    return proto


def more_certain(found: ValueType | None, stated: ValueType | None) -> ValueType | None:
    """Return what was inferred, with what the model states where inference knows nothing."""
    if not isinstance(found, TensorType) or not isinstance(stated, TensorType):
        return found or stated
    if found.shape is None or stated.shape is None:
        shape = stated.shape if found.shape is None else found.shape
        return TensorType(shape, found.element)
    if len(found.shape) != len(stated.shape):
        return found
    pairs = zip(found.shape, stated.shape, strict=True)
    return TensorType(tuple(b if a == UNKNOWN else a for a, b in pairs), found.element)
