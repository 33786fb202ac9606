"""Attributes of nodes in the text form, by the type hints of their dataclass fields."""

from __future__ import annotations

import dataclasses
import enum
import functools
import hashlib
import types
import typing
from typing import Any

from lowbitc.compiler.diagnostics import InternalError, Source
from lowbitc.compiler.elements import LevelType
from lowbitc.compiler.ir import ops, quantized
from lowbitc.compiler.ir.node import Node
from lowbitc.compiler.text.scanner import (
    ELIDED,
    MalformedTextError,
    Scanner,
    quote,
    spell_bytes,
)
from lowbitc.compiler.text.types import parse_levels

_COMMON = frozenset(field.name for field in dataclasses.fields(Node))
_NONE = "none"
_FLAGS = {"true": True, "false": False}
_LONG_BYTES = 32
# Names that the operators' modules import for the type checker only.
_HINT_NAMES = {"LevelType": LevelType, "Source": Source}


@functools.cache
def operators() -> dict[str, type[Node]]:
    """Return every operator class by its name in the text form."""
    found: dict[str, type[Node]] = {}
    for module in (ops, quantized):
        for held in vars(module).values():
            if isinstance(held, type) and issubclass(held, Node) and "op" in vars(held):
                found[held.op] = held
    return found


def attribute_hints(operator: type[Node]) -> dict[str, Any]:
    """Return the attributes of an operator, in order, with their resolved types."""
    hints = typing.get_type_hints(operator, localns=_HINT_NAMES)
    return {f.name: hints[f.name] for f in dataclasses.fields(operator) if f.name not in _COMMON}


def spell_attributes(node: Node, *, elide: bool) -> str:
    """Spell the attributes of a node: ``{axis=1}``, or nothing where it has none."""
    parts = [f"{k}={_spell(getattr(node, k), elide=elide)}" for k in attribute_hints(type(node))]
    return f" {{{', '.join(parts)}}}" if parts else ""


def _spell(value: object, *, elide: bool) -> str:  # noqa: PLR0911 - one answer a type
    if value is None:
        return _NONE
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, bytes):
        if elide and len(value) > _LONG_BYTES:
            return f"{ELIDED}({len(value)}, {quote(digest(value))})"
        return spell_bytes(value)
    if isinstance(value, enum.Enum):
        return str(value.value)
    if isinstance(value, LevelType):
        return value.name
    if isinstance(value, tuple):
        items = typing.cast("tuple[object, ...]", value)
        return f"({', '.join(_spell(item, elide=elide) for item in items)})"
    message = f"the text form has no spelling for {type(value).__name__}"
    raise InternalError(message)


def digest(data: bytes) -> str:
    """Return the SHA-256 of what was left out."""
    return hashlib.sha256(data).hexdigest()


def parse_attributes(scanner: Scanner, operator: type[Node]) -> dict[str, Any]:
    """Read ``{name=value, …}``; an attribute with a default may be missing."""
    hints = attribute_hints(operator)
    found: dict[str, Any] = {}
    if scanner.skip("{"):
        while not scanner.skip("}"):
            if found:
                scanner.expect(",")
            name = scanner.word("the name of an attribute")
            if name not in hints or name in found:
                allowed = ", ".join(k for k in hints if k not in found) or "none"
                expected = f"an attribute of {operator.op} ({allowed})"
                raise MalformedTextError(expected, repr(name))
            scanner.expect("=")
            found[name] = _parse(scanner, hints[name])
    required = {
        f.name
        for f in dataclasses.fields(operator)
        if f.name in hints and f.default is dataclasses.MISSING
    }
    if missing := [name for name in hints if name in required - set(found)]:
        expected = f"{operator.op} to have {', '.join(missing)}"
        raise MalformedTextError(expected, ", ".join(found) or "no attributes")
    return found


def _parse(scanner: Scanner, hint: Any) -> object:  # noqa: ANN401 - a type, any at all
    origin = typing.get_origin(hint)
    if origin in {typing.Union, types.UnionType}:
        if scanner.skip(_NONE):
            return None
        (hint,) = (h for h in typing.get_args(hint) if h is not type(None))
        return _parse(scanner, hint)
    if origin is not tuple:
        return _parse_one(scanner, hint)
    items: list[object] = []
    scanner.expect("(")
    while not scanner.skip(")"):
        if items:
            scanner.expect(",")
        items.append(_parse(scanner, typing.get_args(hint)[0]))
    return tuple(items)


def _parse_one(scanner: Scanner, hint: Any) -> object:  # noqa: ANN401 - a type, any at all
    if hint is bool:
        return _one_of(scanner, _FLAGS)
    if hint is bytes:
        if scanner.skip(ELIDED):
            raise MalformedTextError("the bytes of the operator", "a text without them (--elide)")
        return scanner.data()
    simple = {int: scanner.integer, float: scanner.number, str: scanner.string}
    if hint in simple:
        return simple[hint]()
    if hint is LevelType:
        return parse_levels(scanner)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return _one_of(scanner, {str(member.value): member for member in hint})
    message = f"the text form cannot read {hint}"
    raise InternalError(message)


def _one_of(scanner: Scanner, choices: dict[str, Any]) -> object:
    expected = " or ".join(choices)
    word = scanner.word(expected)
    if word not in choices:
        raise MalformedTextError(expected, repr(word))
    return choices[word]
