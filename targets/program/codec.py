"""Frozen dataclasses to JSON and back, by the types of their fields.

Tuples become lists, enumerations their value, level types their name. What is read must have
exactly the declared types: nothing is coerced, and an unknown key is an error.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import types
import typing
from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, cast

from lowbitc.compiler.diagnostics import Source
from lowbitc.compiler.elements import LevelType, element_type
from lowbitc.compiler.ir import quantized
from lowbitc.compiler.ir.node import Node
from lowbitc.compiler.ir.quantized import DEVICE_OPS, Dequantize, Quantize

if TYPE_CHECKING:
    from lowbitc.targets.container import Json

_T = TypeVar("_T")
_SHOWN = 60
_NODES: dict[str, type[Node]] = {cls.op: cls for cls in (*DEVICE_OPS, Quantize, Dequantize)}
_NAMES = {"LevelType": LevelType, "Source": Source, "Stage": quantized.Stage}
"""What the annotations of nodes name, but import only for type checkers."""


class CodecError(ValueError):
    """JSON that does not describe the wanted dataclass; the text says where and what."""


def encode(value: object) -> Json:
    """Return a dataclass, or a field of one, as JSON."""
    if isinstance(value, LevelType):
        return value.name
    if isinstance(value, Node):
        return encode_node(value)
    if isinstance(value, enum.Enum):
        value = value.value
    if value is None or isinstance(value, bool | int | float | str | Mapping):
        return cast("Json", value)
    if isinstance(value, tuple):
        return [encode(member) for member in cast("tuple[object, ...]", value)]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _fields(value)
    message = f"a {type(value).__name__} is not stored"
    raise CodecError(message)


def _fields(value: object) -> Mapping[str, Json]:
    fields = dataclasses.fields(value)  # type: ignore[arg-type]
    return {f.name: encode(getattr(value, f.name)) for f in fields}


def encode_node(node: Node) -> Mapping[str, Json]:
    """Return a node as a JSON object with its operator as ``op``."""
    return {"op": node.op, **_fields(node)}


def decode(wanted: type[_T], value: Json, where: str) -> _T:
    """Read a dataclass.

    Raises CodecError, with ``where`` in its text, when the JSON does not describe one.
    """
    if not isinstance(value, Mapping):
        raise _wrong(where, "an object", value)
    hints = _hints(cast("Hashable", wanted))
    if unknown := sorted(set(value) - set(hints)):
        message = f"{where} has the unknown key {unknown[0]!r}"
        raise CodecError(message)
    read = {name: _member(hints[name], value[name], f"{where}.{name}") for name in value}
    fields = dataclasses.fields(wanted)  # type: ignore[arg-type]
    for field in fields:
        optional = field.default is not dataclasses.MISSING
        if field.name not in read and not optional:
            message = f"{where} lacks {field.name!r}"
            raise CodecError(message)
    return wanted(**read)


def decode_node(value: Json, where: str) -> Node:
    """Read a node.

    Raises CodecError when it is no integer operator or has other fields than it should.
    """
    if not isinstance(value, Mapping):
        raise _wrong(where, "an object", value)
    op = value.get("op")
    if not isinstance(op, str) or op not in _NODES:
        message = f"{where} has the unknown operator {op!r}"
        raise CodecError(message)
    return decode(_NODES[op], {k: v for k, v in value.items() if k != "op"}, where)


@functools.cache
def _hints(wanted: Hashable) -> dict[str, Any]:
    """Return the types of a dataclass's fields by name."""
    hints = typing.get_type_hints(cast("type[object]", wanted), localns=_NAMES)
    return {f.name: hints[f.name] for f in dataclasses.fields(wanted)}  # type: ignore[arg-type]


def _member(hint: Any, value: Json, where: str) -> object:  # noqa: ANN401 - a type, of any kind
    """Read one field whose type is ``hint``."""
    if isinstance(hint, types.UnionType):
        inner = [arm for arm in typing.get_args(hint) if arm is not types.NoneType]
        return None if value is None else _member(inner[0], value, where)
    if typing.get_origin(hint) is tuple:
        return _members(typing.get_args(hint), value, where)
    return _scalar(hint, value, where)


def _members(hints: tuple[Any, ...], value: Json, where: str) -> tuple[object, ...]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise _wrong(where, "a list", value)
    if hints[-1] is Ellipsis:
        hints = (hints[0],) * len(value)
    if len(hints) != len(value):
        raise _wrong(where, f"a list of {len(hints)}", value)
    pairs = enumerate(zip(hints, value, strict=True))
    return tuple(_member(hint, member, f"{where}[{i}]") for i, (hint, member) in pairs)


def _scalar(hint: type[object], value: Json, where: str) -> object:
    if typing.get_origin(hint) is Mapping:
        if not isinstance(value, Mapping):
            raise _wrong(where, "an object", value)
        return value
    if hint is Node:
        return decode_node(value, where)
    if hint is LevelType:
        found = element_type(value) if isinstance(value, str) else None
        if not isinstance(found, LevelType):
            raise _wrong(where, "a level type", value)
        return found
    if issubclass(hint, enum.Enum):
        values = {member.value: member for member in hint}
        if not isinstance(value, str) or value not in values:
            raise _wrong(where, f"one of {sorted(values)}", value)
        return values[value]
    if dataclasses.is_dataclass(hint):
        return decode(hint, value, where)
    if type(value) is not hint:
        raise _wrong(where, hint.__name__, value)
    return value


def _wrong(where: str, wanted: str, value: Json) -> CodecError:
    shown = repr(value)
    shown = shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…"
    return CodecError(f"{where} is not {wanted}: {shown}")
