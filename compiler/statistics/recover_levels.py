"""Find the integers behind weights that a model holds as scale times integer.

A row of weights w = s · q with whole q of at most 8 bits is told by its largest weight: for some
L ≤ 128, s = max|w| / L makes all of w / s whole. The smallest such L is taken; any larger one
stands for the same weights on a finer grid. Batch normalisation that was folded into the weights
only changes s. Rows of float weights have no such L, but by an accident of about 2⁻¹⁰ a weight.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lowbitc.compiler.elements import Alphabet, odd, signed

if TYPE_CHECKING:
    from lowbitc.compiler.elements import Float64, Int32, LevelType

_LARGEST = 128
_OFF = 2.0**-11
"""How far w / s may be from whole: float32 rounds 128 by 2⁻¹⁷."""
_WIDTHS = (1, 2, 4, 8)
_ODD_UP_TO = 4


@dataclass(frozen=True, slots=True, eq=False)
class Recovered:
    """Levels [O, K] and scales [O] with w = level · scale, in the narrowest alphabet."""

    levels_type: LevelType
    levels: Int32
    scales: Float64


def recover_levels(rows: Float64) -> Recovered | None:
    """Return the levels of weights [O, K]; None where a row lies on no grid of 8 bits.

    Rows of zeros have scale 1.
    """
    sizes = np.abs(rows).max(axis=1, initial=0.0)
    scales = np.where(sizes > 0, 0.0, 1.0)
    open_ = np.flatnonzero(sizes > 0)
    for count in range(1, _LARGEST + 1):
        if not open_.size:
            break
        tried = sizes[open_] / count
        steps = rows[open_] / tried[:, np.newaxis]
        whole = np.all(np.abs(steps - np.rint(steps)) < _OFF, axis=1)
        scales[open_[whole]] = tried[whole]
        open_ = open_[~whole]
    if open_.size:
        return None
    levels = np.rint(rows / scales[:, np.newaxis]).astype(np.int32)
    chosen = _narrowest(levels)
    return None if chosen is None else Recovered(chosen, levels, _refined(rows, levels, scales))


def _refined(rows: Float64, levels: Int32, scales: Float64) -> Float64:
    """Return the scale that a row's largest weight tells best, as the float32 that it was."""
    single = scales.astype(np.float32)
    exact = np.all((levels * single[:, np.newaxis]).astype(np.float32) == rows, axis=1)
    for moved in (np.nextafter(single, np.float32(np.inf)), np.nextafter(single, np.float32(0))):
        fits = np.all((levels * moved[:, np.newaxis]).astype(np.float32) == rows, axis=1)
        single = np.where(fits & ~exact, moved, single)
        exact |= fits
    return np.where(exact, single.astype(np.float64), scales)


def _narrowest(levels: Int32) -> LevelType | None:
    """Return the alphabet of fewest bits that holds all levels."""
    for width in _WIDTHS:
        allowed = [signed(width)] + ([odd(width)] if width <= _ODD_UP_TO else [])
        for element in allowed:
            inside = levels.min(initial=0) >= element.minimum
            inside &= levels.max(initial=0) <= element.maximum
            plain = element.alphabet is not Alphabet.ODD
            if inside and (plain or bool(np.all(levels % 2 == 1))):
                return element
    return None
