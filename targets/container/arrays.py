"""Arrays in a section: known answers and constants.

All integers are little endian. A section starts with the number of arrays (4 bytes) and 4 bytes
of 0; the arrays follow in ascending order of their names' UTF-8 bytes, each name once, each array
at the next multiple of 64 from the section's start::

    offset  size  field
         0     2  length of the name in bytes, m
         2     1  element type, see ``_TYPES``
         3     1  number of dimensions, r, at most 8
         4     4  reserved, 0
         8     8  length of the elements in bytes
        16    8r  dimensions, outermost first
    16+8r     m  name in UTF-8

The elements stand at the next multiple of 64, in C order. All bytes between are 0, and so are
those up to the next multiple of 64 after the last element, where the section ends.
"""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING, Final, NoReturn

import numpy as np

from lowbitc.compiler.diagnostics import CompileError, error
from lowbitc.targets.container.layout import align, as_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lowbitc.compiler.elements import Array

_COUNT: Final = struct.Struct("<II")
_RECORD: Final = struct.Struct("<HBBIQ")
_DIMENSION_BYTES: Final = 8
_MAX_RANK: Final = 8
_MAX_NAME_BYTES: Final = (1 << 16) - 1

_TYPES: Final[dict[int, np.dtype[np.generic]]] = {
    1: np.dtype("u1"),
    2: np.dtype("i1"),
    3: np.dtype("<u2"),
    4: np.dtype("<i2"),
    5: np.dtype("<u4"),
    6: np.dtype("<i4"),
    7: np.dtype("<u8"),
    8: np.dtype("<i8"),
    9: np.dtype("<f2"),
    10: np.dtype("<f4"),
    11: np.dtype("<f8"),
    12: np.dtype("?"),
}
_CODES: Final = {(dtype.kind, dtype.itemsize): code for code, dtype in _TYPES.items()}


def encode_arrays(arrays: Mapping[str, Array]) -> bytes:
    """Encode named arrays; the same arrays give the same bytes in whatever order they come.

    Raises:
        ValueError: an element type, a rank or a name that the format does not hold.

    """
    encoded = sorted((name.encode(), array) for name, array in arrays.items())
    out = bytearray(_COUNT.pack(len(encoded), 0))
    _pad(out)
    for name, array in encoded:
        code = _CODES.get((array.dtype.kind, array.itemsize))
        if code is None or array.ndim > _MAX_RANK or len(name) > _MAX_NAME_BYTES:
            message = f"array {name[:40]!r} of {array.dtype} and {array.ndim} dimensions"
            raise ValueError(message)
        out += _RECORD.pack(len(name), code, array.ndim, 0, array.nbytes)
        out += struct.pack(f"<{array.ndim}Q", *array.shape)
        out += name
        _pad(out)
        out += array.astype(_TYPES[code], copy=False).tobytes()
        _pad(out)
    return bytes(out)


def decode_arrays(data: bytes | memoryview) -> dict[str, Array]:
    """Decode named arrays: read-only views of the data, in order of their names.

    Raises:
        CompileError: LB615, the section is not what encode_arrays writes.

    """
    view = as_bytes(data)
    arrays: dict[str, Array] = {}
    before = b""
    count, reserved = _COUNT.unpack(_take(view, 0, _COUNT.size))
    if reserved:
        _refuse("reserved bytes that are not 0")
    offset = _skip_padding(view, _COUNT.size)
    for _ in range(count):
        fields = _RECORD.unpack(_take(view, offset, _RECORD.size))
        name_bytes, code, rank, reserved, data_bytes = fields
        if reserved or code not in _TYPES or rank > _MAX_RANK:
            _refuse(f"array header {fields} at byte {offset}")
        offset += _RECORD.size
        shape = struct.unpack(f"<{rank}Q", _take(view, offset, rank * _DIMENSION_BYTES))
        offset += rank * _DIMENSION_BYTES
        name = bytes(_take(view, offset, name_bytes))
        if arrays and name <= before:
            _refuse(f"array {name!r} after {before!r}")
        before = name
        dtype = _TYPES[code]
        if math.prod(shape) * dtype.itemsize != data_bytes:
            _refuse(f"{data_bytes} bytes for array {name!r} of {dtype} {shape}")
        offset = _skip_padding(view, offset + name_bytes)
        elements = _take(view, offset, data_bytes)
        offset = _skip_padding(view, offset + data_bytes)
        arrays[_text(name)] = np.reshape(np.frombuffer(elements, dtype), shape)
    if offset != len(view):
        _refuse(f"{len(view) - offset} bytes after the last array")
    return arrays


def _pad(out: bytearray) -> None:
    out += bytes(align(len(out)) - len(out))


def _take(view: memoryview, offset: int, length: int) -> memoryview:
    if length > len(view) - offset:
        _refuse(f"{len(view) - offset} of {length} bytes at byte {offset}")
    return view[offset : offset + length]


def _skip_padding(view: memoryview, offset: int) -> int:
    if any(_take(view, offset, align(offset) - offset)):
        _refuse(f"padding that is not zero at byte {offset}")
    return align(offset)


def _text(name: bytes) -> str:
    try:
        return name.decode()
    except UnicodeDecodeError:
        _refuse(f"an array name that is not UTF-8: {name!r}")


def _refuse(found: str) -> NoReturn:
    raise CompileError(
        [
            error(
                "LB615",
                "a section of arrays is malformed",
                found=found,
                hint="compile the model again",
            )
        ]
    )
