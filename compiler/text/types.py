"""Types of values in the text form."""

from __future__ import annotations

import re

from lowbitc.compiler.elements import Alphabet, ElementType, LevelType, PlainType
from lowbitc.compiler.ir.types import UNKNOWN, OpaqueType, TensorType, ValueType
from lowbitc.compiler.text.scanner import Scanner, quote, spell_bytes

_LEVELS = re.compile(r"(U|I|Odd)([0-9]+)")
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OPAQUE = "opaque"


def spell_element(element: ElementType) -> str:
    """Spell an element type; a plain one that looks like levels or a keyword is quoted."""
    if isinstance(element, LevelType):
        return element.name
    name = element.name
    bare = _PLAIN.fullmatch(name) and not _LEVELS.fullmatch(name) and name != _OPAQUE
    return name if bare else quote(name)


def parse_levels(scanner: Scanner) -> LevelType:
    """Read the name of a level type, such as U4."""
    word = scanner.word("levels, such as U4 or I8")
    found = _LEVELS.fullmatch(word)
    if found is None:
        raise scanner.malformed(f"levels, such as U4 or I8, not {word},")
    return LevelType(Alphabet(found[1]), int(found[2]))


def spell_type(held: ValueType) -> str:
    """Spell a type: ``U4[1, 8] * (0.5)``."""
    if isinstance(held, OpaqueType):
        return f"{_OPAQUE} {spell_bytes(held.proto)}"
    scale = f" * {spell_floats(held.scale)}" if held.scale else ""
    return f"{spell_element(held.element)}{_spell_shape(held.shape)}{scale}"


def _spell_shape(shape: tuple[int, ...] | None) -> str:
    if shape is None:
        return "[*]"
    return f"[{', '.join('?' if d == UNKNOWN else str(d) for d in shape)}]"


def spell_floats(values: tuple[float, ...]) -> str:
    """Spell numbers so that the same come back."""
    return f"({', '.join(repr(float(v)) for v in values)})"


def parse_type(scanner: Scanner) -> ValueType:
    """Read a type."""
    if scanner.at_string():
        element: ElementType = PlainType(scanner.string())
    else:
        word = scanner.word("a type")
        if word == _OPAQUE:
            return OpaqueType(scanner.data())
        found = _LEVELS.fullmatch(word)
        element = LevelType(Alphabet(found[1]), int(found[2])) if found else PlainType(word)
    shape = _parse_shape(scanner)
    return TensorType(shape, element, parse_floats(scanner) if scanner.skip("*") else ())


def _parse_shape(scanner: Scanner) -> tuple[int, ...] | None:
    scanner.expect("[")
    if scanner.skip("*"):
        scanner.expect("]")
        return None
    dims: list[int] = []
    while not scanner.skip("]"):
        if dims:
            scanner.expect(",")
        dims.append(UNKNOWN if scanner.skip("?") else scanner.integer())
    return tuple(dims)


def parse_floats(scanner: Scanner) -> tuple[float, ...]:
    """Read numbers in parentheses."""
    scanner.expect("(")
    values: list[float] = []
    while not scanner.skip(")"):
        if values:
            scanner.expect(",")
        values.append(scanner.number())
    return tuple(values)
