"""Sums that say how far one network's values are from another's, whatever the order of samples."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from lowbitc.compiler.elements import Array

NO_ERROR_DB = 200.0
"""What a ratio of powers without any error is shown as: JSON has no infinity."""


class ExactSum:
    """A sum of floats that is rounded once, when it is read (Shewchuk 1997).

    Partials that do not overlap hold all that was added, so neither order nor grouping matters.
    """

    __slots__ = ("_partials",)

    def __init__(self) -> None:
        """Start at 0."""
        self._partials: list[float] = []

    def add(self, term: float) -> None:
        """Add a finite number."""
        kept: list[float] = []
        for partial in self._partials:
            large, small = (term, partial) if abs(term) >= abs(partial) else (partial, term)
            term = large + small
            rest = small - (term - large)
            if rest:
                kept.append(rest)
        kept.append(term)
        self._partials = kept

    @property
    def value(self) -> float:
        """The sum, correctly rounded."""
        return math.fsum(self._partials)


@dataclass(frozen=True, slots=True)
class ErrorFigures:
    """How far values are from those that were wanted.

    ``sqnr_db`` is the power of what was wanted over that of the error, in decibels; ``cosine``
    that of the angle between both; ``relative_error`` the root of the ratio of powers.
    """

    sqnr_db: float
    cosine: float
    relative_error: float
    max_error: float


@dataclass(slots=True)
class ErrorSums:
    """Powers and products of pairs of values, added up sample by sample."""

    count: int = 0
    wanted: ExactSum = field(default_factory=ExactSum)
    found: ExactSum = field(default_factory=ExactSum)
    both: ExactSum = field(default_factory=ExactSum)
    error: ExactSum = field(default_factory=ExactSum)
    max_error: float = 0.0

    def add(self, wanted: Array, found: Array, samples: int) -> None:
        """Add values of ``samples`` samples, joined along axis 0 of both arrays."""
        rows = (np.asarray(v, np.float64).reshape(samples, -1) for v in (wanted, found))
        for one, other in zip(*rows, strict=True):
            gap = other - one
            self.count += one.size
            self.wanted.add(float(np.square(one).sum()))
            self.found.add(float(np.square(other).sum()))
            self.both.add(float((one * other).sum()))
            self.error.add(float(np.square(gap).sum()))
            self.max_error = max(self.max_error, float(np.abs(gap).max(initial=0.0)))

    @property
    def mean_error(self) -> float:
        """Mean squared error of a value."""
        return self.error.value / max(self.count, 1)

    def figures(self) -> ErrorFigures:
        """Return the ratios; values that are all 0 have no error where nothing else was found."""
        wanted, found, error = self.wanted.value, self.found.value, self.error.value
        norm = math.sqrt(wanted * found)
        return ErrorFigures(
            sqnr_db=decibels(wanted, error) if error else NO_ERROR_DB,
            cosine=self.both.value / norm if norm else float(wanted == found),
            relative_error=math.sqrt(error / wanted) if wanted else float(error > 0),
            max_error=self.max_error,
        )


def decibels(power: float, reference: float) -> float:
    """Return 10 log10 of a ratio of powers, within ± NO_ERROR_DB; 0 where both are 0."""
    if power == reference:
        return 0.0
    if reference == 0 or power == 0:
        return NO_ERROR_DB if power else -NO_ERROR_DB
    return min(max(10 * math.log10(power / reference), -NO_ERROR_DB), NO_ERROR_DB)
