"""Element types as objects: floats and integers of ONNX, and the chip's levels of 1 to 8 bits."""

from __future__ import annotations

import enum
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.generic]
Levels = npt.NDArray[np.int8] | npt.NDArray[np.uint8]
Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Int8 = npt.NDArray[np.int8]
Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class PlainType:
    """An element type of ONNX that the chip does not hold; ``name`` is numpy's or ONNX's."""

    name: str


class Alphabet(enum.Enum):
    """Which integers a level may be."""

    UNSIGNED = "U"
    """0 … 2^b − 1: activations behind a PACT clip."""
    SIGNED = "I"
    """−2^(b−1) … 2^(b−1) − 1, two's complement."""
    ODD = "Odd"
    """−(2^b − 1), …, −1, 1, …, 2^b − 1 in steps of two: SAWB's levels, without zero."""


@dataclass(frozen=True, slots=True)
class LevelType:
    """Integers of ``bits`` bits; the value of a level is ``level · scale``."""

    alphabet: Alphabet
    bits: int

    @property
    def name(self) -> str:
        """Spelling in the text form: U4, I8, Odd2."""
        return f"{self.alphabet.value}{self.bits}"

    @property
    def minimum(self) -> int:
        """Smallest level."""
        if self.alphabet is Alphabet.UNSIGNED:
            return 0
        if self.alphabet is Alphabet.SIGNED:
            return -(1 << (self.bits - 1))
        return 1 - (1 << self.bits)

    @property
    def maximum(self) -> int:
        """Largest level."""
        if self.alphabet is Alphabet.SIGNED:
            return (1 << (self.bits - 1)) - 1
        return (1 << self.bits) - 1

    @property
    def signed(self) -> bool:
        """Whether levels can be negative."""
        return self.alphabet is not Alphabet.UNSIGNED

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Storage of unpacked levels: uint8, int8, or int32 for accumulators."""
        if self.bits == ACCUMULATOR_BITS:
            return np.dtype(np.int32)
        return np.dtype(np.int8 if self.signed else np.uint8)

    def levels(self) -> Int32:
        """Every level, ascending."""
        step = 2 if self.alphabet is Alphabet.ODD else 1
        return np.arange(self.minimum, self.maximum + 1, step, dtype=np.int32)


ElementType = PlainType | LevelType

ACCUMULATOR_BITS = 32

F32 = PlainType("float32")
I64 = PlainType("int64")
U1, U2, U4, U8 = (LevelType(Alphabet.UNSIGNED, b) for b in (1, 2, 4, 8))
I1, I2, I4, I8 = (LevelType(Alphabet.SIGNED, b) for b in (1, 2, 4, 8))
ODD1, ODD2, ODD4 = (LevelType(Alphabet.ODD, b) for b in (1, 2, 4))
I32 = LevelType(Alphabet.SIGNED, ACCUMULATOR_BITS)
"""Accumulators that leave the chip as they are, one scale a channel."""

_LEVEL_TYPES = {t.name: t for t in (U1, U2, U4, U8, I1, I2, I4, I8, ODD1, ODD2, ODD4, I32)}


def element_type(name: str) -> ElementType:
    """Read an element type from its spelling; unknown names are plain types."""
    return _LEVEL_TYPES.get(name) or PlainType(name)


def unsigned(bits: int) -> LevelType:
    """Return U1, U2, U4 or U8."""
    return _LEVEL_TYPES[f"U{bits}"]


def signed(bits: int) -> LevelType:
    """Return I1, I2, I4 or I8."""
    return _LEVEL_TYPES[f"I{bits}"]


def odd(bits: int) -> LevelType:
    """Return Odd1, Odd2 or Odd4."""
    return _LEVEL_TYPES[f"Odd{bits}"]
