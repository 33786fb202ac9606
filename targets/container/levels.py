"""Pack levels of 1, 2, 4 or 8 bits into bytes.

Code c of b bits stands for level c of unsigned levels; for c, less 2^b from c = 2^(b-1) on, of
signed ones (two's complement); for 2c - (2^b - 1) of odd ones: {-1, 1}, {-3, -1, 1, 3} and so on.

The first level stands in the least significant bits of the first byte; unused high bits of the
last byte are 0.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np

from lowbitc.compiler.diagnostics import CompileError, error
from lowbitc.compiler.elements import Alphabet, LevelType

if TYPE_CHECKING:
    import numpy.typing as npt

    from lowbitc.compiler.elements import Int8, Levels

_BYTE_BITS: Final = 8
_BITS: Final = (1, 2, 4, 8)


def packed_bytes(count: int, bits: int) -> int:
    """Bytes that ``count`` levels of ``bits`` bits take."""
    return -(-count * bits // _BYTE_BITS)


def pack_levels(levels: npt.NDArray[np.integer], element: LevelType) -> bytes:
    """Pack an array of any shape, in C order.

    Raises:
        ValueError: a level that the element type does not have, or no packable element type.

    """
    _check_packable(element)
    flat = np.ravel(levels)
    if flat.size and not (element.minimum <= flat.min() and flat.max() <= element.maximum):
        message = f"levels {flat.min()} to {flat.max()} do not fit {element.name}"
        raise ValueError(message)
    codes = flat.astype(np.int16)
    if element.alphabet is Alphabet.ODD:
        if not np.all(codes & 1):
            message = f"an even level does not fit {element.name}"
            raise ValueError(message)
        codes = (codes - element.minimum) >> 1
    per_byte = _BYTE_BITS // element.bits
    slots = np.zeros(packed_bytes(codes.size, element.bits) * per_byte, np.uint8)
    slots[: codes.size] = codes & ((1 << element.bits) - 1)
    packed: npt.NDArray[np.uint8] = np.array(slots[::per_byte])
    for place in range(1, per_byte):
        packed |= slots[place::per_byte] << np.uint8(place * element.bits)
    return packed.tobytes()


def unpack_levels(data: bytes | memoryview, element: LevelType, count: int) -> Levels:
    """Unpack ``count`` levels into a new flat array: uint8 if unsigned, else int8.

    Raises:
        CompileError: LB615, the data has another length, or unused bits that are not 0.
        ValueError: no packable element type.

    """
    table = _levels_of_bytes(element)
    packed = np.frombuffer(data, np.uint8)
    if packed.size != packed_bytes(count, element.bits):
        raise CompileError(
            [
                error(
                    "LB615",
                    f"packed levels have the wrong length for {count} of {element.name}",
                    found=f"{packed.size} bytes",
                    allowed=f"{packed_bytes(count, element.bits)} bytes",
                    hint="compile the model again",
                )
            ]
        )
    used = count * element.bits % _BYTE_BITS
    if used and packed[-1] >> used:
        raise CompileError(
            [
                error(
                    "LB615",
                    "unused bits after packed levels are not 0",
                    found=f"last byte {int(packed[-1]):#04x}, of which {used} bits are used",
                    hint="compile the model again",
                )
            ]
        )
    levels = np.ravel(table[packed])[:count]
    return levels if element.signed else levels.astype(np.uint8)


@lru_cache
def _levels_of_bytes(element: LevelType) -> Int8:
    """Levels in each of the 256 bytes, (256, 8 / bits); unsigned ones by their bits."""
    _check_packable(element)
    # Two's complement codes ascend from 0, not from the smallest level.
    first = 1 << (element.bits - 1) if element.alphabet is Alphabet.SIGNED else 0
    levels = np.roll(element.levels(), first).astype(np.int8)
    shifts = np.arange(0, _BYTE_BITS, element.bits)
    codes = (np.arange(1 << _BYTE_BITS)[:, None] >> shifts) & ((1 << element.bits) - 1)
    return np.take(levels, codes)


def _check_packable(element: LevelType) -> None:
    # Odd levels of 8 bits would not fit int8.
    if element.bits not in _BITS or element == LevelType(Alphabet.ODD, _BYTE_BITS):
        message = f"{element.name} levels are not packed"
        raise ValueError(message)
