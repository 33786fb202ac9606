"""Constants in the text form: short ones inline, others as base64 of their bytes."""

from __future__ import annotations

import base64
import binascii
import hashlib
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from lowbitc.compiler.diagnostics import InternalError
from lowbitc.compiler.elements import LevelType, PlainType
from lowbitc.compiler.ir.types import TensorType, ValueType
from lowbitc.compiler.onnx_types import numpy_dtype, onnx_number
from lowbitc.compiler.text.equality import same_array
from lowbitc.compiler.text.scanner import ELIDED, MalformedTextError, Scanner, quote, spell_bytes
from lowbitc.compiler.text.types import parse_type, spell_type

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lowbitc.compiler.elements import Array

_INLINE = 16
"""Up to so many elements are written as numbers."""
_LINE = 96
_BASE64 = "base64"
_FLAGS = {"true": True, "false": False}


def spell_array(array: Array, held: ValueType | None, *, elide: bool) -> Iterator[str]:
    """Yield the lines that stand for a constant; ``held`` is its declared type.

    Its storage is said first where that does not follow from the type: levels are stored in int8.
    """
    stored = _stored(array)
    head = "" if held == stored else f"{spell_type(stored)} "
    inline = _inline(array)
    if inline is not None:
        yield f"{head}({inline})"
    elif elide:
        yield f"{head}{ELIDED} {quote(hashlib.sha256(array.tobytes()).hexdigest())}"
    else:
        yield f"{head}{_BASE64}"
        text = base64.b64encode(array.tobytes()).decode("ascii")
        yield from (text[start : start + _LINE] for start in range(0, len(text), _LINE))


def _stored(array: Array) -> TensorType:
    name = "string" if array.dtype == object else str(array.dtype)
    return TensorType(array.shape, PlainType(name))


def _inline(array: Array) -> str | None:
    if array.dtype == object:
        return ", ".join(_spell_text(item) for item in array.ravel().tolist())
    if array.size > _INLINE or array.dtype.kind not in "biuf":
        return None
    # numpy's str() is the shortest decimal that reads back as the same number of that type.
    words = [str(item).lower() for item in array.ravel()]
    try:
        same = same_array(_from_numbers([_number(w) for w in words], array.dtype, array), array)
    except (OverflowError, ValueError):
        same = False
    return ", ".join(words) if same else None


def _number(word: str) -> float | int | bool:
    if word in _FLAGS:
        return _FLAGS[word]
    return int(word) if word.lstrip("+-").isdigit() else float(word)


def _from_numbers(
    numbers: Sequence[float], dtype: np.dtype[Any], like: Array | tuple[int, ...]
) -> Array:
    shape = like if isinstance(like, tuple) else like.shape
    if dtype.kind in "iu" and numbers:
        limits = np.iinfo(dtype)
        if min(numbers) < limits.min or max(numbers) > limits.max:
            message = f"numbers outside of {limits.min} to {limits.max}"
            raise OverflowError(message)
    return np.reshape(np.array(numbers, dtype), shape)


def _spell_text(item: object) -> str:
    if isinstance(item, str):
        return quote(item)
    if isinstance(item, bytes):
        return f"bytes {spell_bytes(item)}"
    message = f"a constant of texts holds a {type(item).__name__}"
    raise InternalError(message)


def parse_array(scanner: Scanner, block: Sequence[str], held: ValueType | None) -> Array:
    """Read a constant from its line, after the ``=``, and from the block that follows it."""
    stored = held
    if not scanner.skip("("):
        if not _keyword_follows(scanner):
            stored = parse_type(scanner)
        if not scanner.skip("("):
            return _from_block(scanner, block, _known(stored))
    tensor = _known(stored)
    if onnx_number(_plain(tensor)) == onnx_number(PlainType("string")):
        return _parse_texts(scanner, tensor.dims)
    numbers: list[float] = []
    while not scanner.skip(")"):
        if numbers:
            scanner.expect(",")
        flag = next((flag for word, flag in _FLAGS.items() if scanner.skip(word)), None)
        numbers.append(_number_at(scanner, tensor) if flag is None else flag)
    _check_count(len(numbers), math.prod(tensor.dims), "numbers")
    try:
        return _from_numbers(numbers, numpy_dtype(tensor.element), tensor.dims)
    except OverflowError as failure:
        raise MalformedTextError(f"numbers of {spell_type(tensor)}", str(failure)) from failure


def _keyword_follows(scanner: Scanner) -> bool:
    place = scanner.place
    found = not scanner.at_string() and scanner.word("a type") in {_BASE64, ELIDED}
    scanner.place = place
    return found


def _number_at(scanner: Scanner, tensor: TensorType) -> float:
    whole = numpy_dtype(tensor.element).kind in "iu"
    return scanner.integer() if whole else scanner.number()


def _plain(tensor: TensorType) -> PlainType:
    if isinstance(tensor.element, LevelType):
        raise MalformedTextError("how levels are stored, such as int8[8, 3]", spell_type(tensor))
    return tensor.element


def _known(held: ValueType | None) -> TensorType:
    if not isinstance(held, TensorType) or not held.known:
        raise MalformedTextError("an array type such as float32[8, 3]", "none")
    if not isinstance(held.element, LevelType) and onnx_number(held.element) == 0:
        raise MalformedTextError("an element type of ONNX", repr(held.element.name))
    return held


def _parse_texts(scanner: Scanner, shape: tuple[int, ...]) -> Array:
    texts: list[str | bytes] = []
    while not scanner.skip(")"):
        if texts:
            scanner.expect(",")
        texts.append(scanner.data() if scanner.skip("bytes") else scanner.string())
    _check_count(len(texts), math.prod(shape), "texts")
    flat = np.empty(len(texts), object)
    flat[:] = texts
    return np.reshape(flat, shape)


def _from_block(scanner: Scanner, block: Sequence[str], tensor: TensorType) -> Array:
    if scanner.skip(ELIDED):
        raise MalformedTextError("the bytes of the constant", "a text without them (--elide)")
    if not scanner.skip(_BASE64):
        raise scanner.malformed("numbers in parentheses, or base64")
    _plain(tensor)
    try:
        data = base64.b64decode("".join(line.strip() for line in block), validate=True)
    except binascii.Error as failure:
        raise MalformedTextError("base64 in indented lines", str(failure)) from failure
    dtype = numpy_dtype(tensor.element)
    _check_count(len(data), math.prod(tensor.dims) * dtype.itemsize, "bytes")
    return np.reshape(np.array(np.frombuffer(data, dtype)), tensor.dims)


def _check_count(found: int, wanted: int, what: str) -> None:
    if found != wanted:
        raise MalformedTextError(f"{wanted} {what}", str(found))
