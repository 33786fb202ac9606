r"""Canonical JSON: the one way to write the manifest of a program.

UTF-8 without a byte order mark; no white space; keys in ascending order of code points; no key
twice; in strings only ``"``, the backslash and the characters below U+0020 are escaped (as
``\"``, ``\\``, ``\b``, ``\f``, ``\n``, ``\r``, ``\t``, else ``\u00xx`` in lower case);
integers from -2^63 to 2^64-1; floats are finite doubles in the shortest decimal that reads back
to the same double, always with a point or an exponent, as Python's ``repr`` writes them.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Final, NoReturn, TypeAlias

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"

MAX_BYTES: Final = 1 << 24
MAX_DEPTH: Final = 32

_MIN_INTEGER: Final = -(1 << 63)
_MAX_INTEGER: Final = (1 << 64) - 1
_MAX_DIGITS: Final = len(str(_MIN_INTEGER))

# Brackets inside strings do not count; a string that never ends swallows the rest.
_STRING_OR_BRACKET: Final = re.compile(rb'(?s)"[^"\\]*(?:\\.[^"\\]*)*"?|[\[{]|[\]}]')


class ManifestError(ValueError):
    """The manifest is not a JSON object in canonical form, or exceeds a bound."""


def encode_manifest(manifest: Mapping[str, Json]) -> bytes:
    """Write a manifest in canonical form.

    Floats must be Python floats: widen a float32 scale with ``float()``, which is exact.

    Raises:
        ManifestError: a value has no canonical form (not finite, an integer of more than 64
            bits, a lone surrogate, not a JSON type), or a bound on depth or size is exceeded.

    """
    try:
        text = json.dumps(
            _plain(manifest, 1),
            ensure_ascii=False,
            allow_nan=False,
            sort_keys=True,
            separators=(",", ":"),
        ).encode()
    except UnicodeEncodeError as lone_surrogate:
        message = f"text that UTF-8 cannot hold: {lone_surrogate.object[:40]!r}"
        raise ManifestError(message) from lone_surrogate
    if len(text) > MAX_BYTES:
        message = f"{len(text)} bytes; the most is {MAX_BYTES}"
        raise ManifestError(message)
    return text


def decode_manifest(data: bytes | memoryview) -> dict[str, Json]:
    """Read a manifest and insist on its canonical form.

    Raises:
        ManifestError: not JSON, not an object, not canonical, too deep or too long.

    """
    if len(data) > MAX_BYTES:
        message = f"{len(data)} bytes; the most is {MAX_BYTES}"
        raise ManifestError(message)
    raw = bytes(data)
    _check_depth(raw)
    try:
        value: Json = json.loads(raw.decode(), parse_int=_integer, parse_constant=_refuse_constant)
    except ManifestError:
        raise
    except ValueError as problem:
        message = f"not JSON in UTF-8: {problem}"
        raise ManifestError(message) from problem
    if not isinstance(value, dict):
        message = "the top level is not an object"
        raise ManifestError(message)
    if encode_manifest(value) != raw:
        message = "not in canonical form (order of keys, a key twice, white space or numbers)"
        raise ManifestError(message)
    return value


def _plain(value: Json, depth: int) -> Json:
    """Check a value and turn every mapping and sequence into what ``json`` writes."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, float):
        return _finite(value)
    if isinstance(value, int):
        return _bounded(value)
    if depth > MAX_DEPTH:
        message = f"nested deeper than {MAX_DEPTH}"
        raise ManifestError(message)
    if isinstance(value, Mapping):
        return {_key(key): _plain(member, depth + 1) for key, member in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(member, depth + 1) for member in value]
    message = f"a {type(value).__name__} is not a JSON value"
    raise ManifestError(message)


def _key(key: object) -> str:
    if not isinstance(key, str):
        message = f"key {key!r} is not a string"
        raise ManifestError(message)
    return key


def _finite(value: float) -> float:
    if not math.isfinite(value):
        message = f"{value} is not a finite number"
        raise ManifestError(message)
    return value


def _bounded(value: int) -> int:
    if not _MIN_INTEGER <= value <= _MAX_INTEGER:
        message = "an integer has more than 64 bits"
        raise ManifestError(message)
    return value


def _integer(digits: str) -> int:
    if len(digits) > _MAX_DIGITS:  # Converting long runs of digits takes quadratic time.
        message = f"an integer of {len(digits)} digits"
        raise ManifestError(message)
    return _bounded(int(digits))


def _refuse_constant(name: str) -> NoReturn:
    message = f"{name} is not a JSON number"
    raise ManifestError(message)


def _check_depth(raw: bytes) -> None:
    """Refuse deep nesting before the parser recurses into it."""
    depth = 0
    for match in _STRING_OR_BRACKET.finditer(raw):
        token = match.group()[:1]
        if token in b"[{":
            depth += 1
            if depth > MAX_DEPTH:
                message = f"nested deeper than {MAX_DEPTH}"
                raise ManifestError(message)
        elif token in b"]}":
            depth -= 1
