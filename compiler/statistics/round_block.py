"""Round a block of columns one after the other: the inner loops of ``round_levels``.

Columns are [G, K, O], so that one lies in one piece. ``define_feed_back`` and ``define_descend``
are the definitions. ``feed_back`` and ``descend`` give the same numbers, by the C extension where
it was built (``available``).
"""

from __future__ import annotations

import importlib.util
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from lowbitc.compiler.elements import Alphabet

if TYPE_CHECKING:
    from lowbitc.compiler.elements import Float64, LevelType


@cache
def available() -> bool:
    """Tell whether the extension was built for this interpreter."""
    return importlib.util.find_spec("lowbitc.compiler.statistics._rounding") is not None


def nearest(steps: Float64, levels_type: LevelType) -> Float64:
    """Round to the nearest level; ties to even in two's complement, up in odd levels."""
    if levels_type.alphabet is Alphabet.ODD:
        found = np.floor(steps * 0.5)
        found *= 2.0
        found += 1.0
    else:
        found = np.rint(steps)
    np.maximum(found, levels_type.minimum, out=found)
    return np.minimum(found, levels_type.maximum, out=found)


def define_feed_back(
    arrays: tuple[Float64, Float64, Float64, Float64, Float64, Float64],
    block: slice,
    levels_type: LevelType,
) -> None:
    """Round the columns of a block in order, each taking up the errors of those before it.

    ``arrays`` are the wanted columns, V [G, K, K], scales [G, O], what the columns before the block
    left to its own ([G, columns, O], added to), and where levels and errors [G, K, O] are written.
    """
    columns, factor, scales, carried, levels, errors = arrays
    diagonal = np.diagonal(factor, axis1=1, axis2=2)
    for column in range(block.start, block.stop):
        wanted = carried[:, column - block.start] / diagonal[:, column, np.newaxis]
        wanted += columns[:, column]
        wanted /= scales
        level = nearest(wanted, levels_type)
        levels[:, column] = level
        gap = np.subtract(columns[:, column], level * scales, out=errors[:, column])
        if column + 1 < block.stop:
            ahead = factor[:, column, column + 1 : block.stop, np.newaxis]
            carried[:, column + 1 - block.start :] += ahead * gap[:, np.newaxis]


def define_descend(
    arrays: tuple[Float64, Float64, Float64, Float64, Float64],
    block: slice,
    levels_type: LevelType,
) -> bool:
    """Set each level of a block to its best value given all others; tell whether one changed.

    ``arrays`` are H [G, K, K], scales [G, O], the slope H e [G, K, O] (kept right inside the
    block), the levels, and where the changes of real values are written ([G, columns, O] of zeros).
    """
    second, scales, slope, chosen, changes = arrays
    diagonal = np.diagonal(second, axis1=1, axis2=2)
    inner = slope[:, block]
    for column in range(block.start, block.stop):
        wanted = inner[:, column - block.start] / (diagonal[:, column, np.newaxis] * scales)
        wanted += chosen[:, column]
        level = nearest(wanted, levels_type)
        change = chosen[:, column] - level
        if not change.any():
            continue
        change *= scales
        chosen[:, column] = level
        changes[:, column - block.start] = change
        inner += second[:, column, block, np.newaxis] * change[:, np.newaxis]
    return bool(changes.any())


def feed_back(
    arrays: tuple[Float64, Float64, Float64, Float64, Float64, Float64],
    block: slice,
    levels_type: LevelType,
) -> None:
    """Do what ``define_feed_back`` does; arrays are C-contiguous."""
    if not available():
        define_feed_back(arrays, block, levels_type)
        return
    from lowbitc.compiler.statistics import _rounding  # noqa: PLC0415 - the extension is optional

    _rounding.feed_back(arrays, block.start, block.stop, *_levels(levels_type))


def descend(
    arrays: tuple[Float64, Float64, Float64, Float64, Float64],
    block: slice,
    levels_type: LevelType,
) -> bool:
    """Do what ``define_descend`` does; arrays are C-contiguous."""
    if not available():
        return define_descend(arrays, block, levels_type)
    from lowbitc.compiler.statistics import _rounding  # noqa: PLC0415 - the extension is optional

    return _rounding.descend(arrays, block.start, block.stop, *_levels(levels_type))


def _levels(levels_type: LevelType) -> tuple[bool, float, float]:
    odd = levels_type.alphabet is Alphabet.ODD
    return odd, float(levels_type.minimum), float(levels_type.maximum)
