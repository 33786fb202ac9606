"""An order-free integer histogram of float32 values, in one pass.

The bin of a value is the upper half of its float32 bit pattern: sign, exponent and seven
mantissa bits, so 65,536 bins whose width is 2^-7 of their lower edge or less. Each bin keeps three
integers: how many values fell in, the sum of the lower halves of their bit patterns (16-bit
offsets within the bin) and the sum of the squared offsets. The mean and the variance of a
bin are therefore exact, and a tensor with few distinct values (pixels, levels, a saturated
ReLU6) is represented exactly where those values have a bin each.

Fixed-width bins, the alternative, need a first pass over the data for the range, waste their
resolution on one outlier, and cannot be merged unless the ranges agree. Here no range is
needed, every sum is an integer, and so merging is exact, commutative and associative: the
result does not depend on the batch split, the order or the number of threads.

Memory is 1.5 MiB a histogram whatever the number of values. A bin must hold fewer than 2^31
values, or its sum of squares would not fit an int64; more is refused with OverflowError.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from lowbitc.compiler.elements import Array, Float32, Float64, Int64

BIN_COUNT = 1 << 16
_SIGN_BIN = 1 << 15
_FIRST_NORMAL = 1 << 7
"""First bin of the normal numbers; what lies below (under 2^-126) counts as zero."""
_FIRST_NON_FINITE = 0x7F80
_SMALLEST_NORMAL = 2.0**-126
_LARGEST_BIN_COUNT = (1 << 31) - 1
_CHUNK = 1 << 18
"""Values binned at once: sums of squared offsets stay below 2^50, exact in float64."""
_FEW = 1 << 12
"""Below this many values, scattering beats counting into a fresh table of every bin."""
_HIGH, _LOW = (1, 0) if sys.byteorder == "little" else (0, 1)


@dataclass(frozen=True, slots=True)
class Magnitudes:
    """The nonzero values of one sign as uniform pieces, ordered by magnitude.

    Piece i holds ``counts[i]`` values spread evenly over ``means[i]`` ± ``half_widths[i]``,
    which has the mean and the variance of the values of its bin. A bin of equal values is a
    point of half width 0. No piece reaches past the largest magnitude: one that would is
    narrower, and has less variance than its values.
    """

    means: Float64
    half_widths: Float64
    counts: Float64
    largest: float


@dataclass(frozen=True, slots=True, eq=False)
class Histogram:
    """What a tensor's values looked like. NaN and infinities are only counted.

    ``minimum`` and ``maximum`` are exact over the finite values (0.0 when there are none).
    Values of magnitude below 2^-126 count as zero.
    """

    counts: Int64
    offsets: Int64
    squares: Int64
    minimum: float
    maximum: float
    nan_count: int
    infinity_count: int

    @property
    def count(self) -> int:
        """Give the number of finite values."""
        return int(self.counts.sum())

    @property
    def zero_count(self) -> int:
        """Give the number of exact zeros (and of magnitudes below 2^-126)."""
        zeros = self.counts[:_FIRST_NORMAL].sum()
        return int(zeros + self.counts[_SIGN_BIN : _SIGN_BIN + _FIRST_NORMAL].sum())

    @property
    def largest_magnitude(self) -> float:
        """Give the exact largest magnitude, 0.0 when every value is zero."""
        return max(self.maximum, -self.minimum, 0.0)

    def positive(self) -> Magnitudes:
        """Give the values above zero."""
        return self._side(0, max(self.maximum, 0.0))

    def negative(self) -> Magnitudes:
        """Give the magnitudes of the values below zero."""
        return self._side(_SIGN_BIN, max(-self.minimum, 0.0))

    def mean_magnitude(self) -> float:
        """Give E|x| over all finite values, zeros included; 0.0 when there are none."""
        total = sum(float((s.counts * s.means).sum()) for s in (self.positive(), self.negative()))
        return total / max(self.count, 1)

    def mean_square(self) -> float:
        """Give E[x^2] over all finite values, zeros included; 0.0 when there are none."""
        total = 0.0
        for sign_bin in (0, _SIGN_BIN):
            bins, edges, units = self._filled(sign_bin)
            # The square of (edge + unit * offset), summed over a bin's values.
            mixed = 2 * edges * self.offsets[bins] + units * self.squares[bins]
            total += float((edges * edges * self.counts[bins] + units * mixed).sum())
        return total / max(self.count, 1)

    def rectified(self) -> Histogram:
        """Give the histogram of max(x, 0) without looking at the values again."""
        counts, offsets, squares = self.counts.copy(), self.offsets.copy(), self.squares.copy()
        counts[0] += counts[_SIGN_BIN:].sum()
        for table in (counts, offsets, squares):
            table[_SIGN_BIN:] = 0
        low, high = max(self.minimum, 0.0), max(self.maximum, 0.0)
        return Histogram(counts, offsets, squares, low, high, self.nan_count, self.infinity_count)

    def _filled(self, sign_bin: int) -> tuple[npt.NDArray[np.intp], Float64, Float64]:
        """Give one sign's bins that hold normal numbers, their edges, and offsets' unit in each."""
        half = slice(sign_bin + _FIRST_NORMAL, sign_bin + _FIRST_NON_FINITE)
        filled = np.flatnonzero(self.counts[half])
        bits = (filled + _FIRST_NORMAL).astype(np.uint32) << np.uint32(16)
        edges = bits.view(np.float32).astype(np.float64)
        units = np.ldexp(1.0, (bits >> np.uint32(23)).astype(np.int32) - 150)
        return filled + half.start, edges, units

    def _side(self, sign_bin: int, largest: float) -> Magnitudes:
        bins, edges, units = self._filled(sign_bin)
        counts = self.counts[bins].astype(np.float64)
        offsets = self.offsets[bins] / counts
        variances = np.maximum(self.squares[bins] / counts - offsets * offsets, 0.0)
        means = np.minimum(edges + units * offsets, largest)
        half_widths = np.minimum(units * np.sqrt(3 * variances), largest - means)
        return Magnitudes(means, half_widths, counts, largest)


class HistogramAccumulator:
    """Counts values batch by batch; any split and any order give the same histogram."""

    __slots__ = (
        "_counts",
        "_infinity_count",
        "_maximum",
        "_minimum",
        "_nan_count",
        "_offsets",
        "_squares",
    )

    def __init__(self) -> None:
        """Start with no values."""
        self._counts: Int64 = np.zeros(BIN_COUNT, np.int64)
        self._offsets: Int64 = np.zeros(BIN_COUNT, np.int64)
        self._squares: Int64 = np.zeros(BIN_COUNT, np.int64)
        self._minimum = math.inf
        self._maximum = -math.inf
        self._nan_count = 0
        self._infinity_count = 0

    def add(self, values: Array) -> None:
        """Count every element of an array of any shape, rounded to float32.

        Raises OverflowError when a bin would hold 2^31 values.
        """
        with np.errstate(over="ignore"):
            flat = np.ascontiguousarray(values, dtype=np.float32).reshape(-1)
        size = min(flat.size, _CHUNK)
        bins, offsets = np.empty(size, np.intp), np.empty(size, np.float64)
        for start in range(0, flat.size, _CHUNK):
            chunk = self._finite(flat[start : start + _CHUNK])
            if chunk.size:
                self._count(chunk, bins[: chunk.size], offsets[: chunk.size])
        if flat.size and int(self._counts.max()) > _LARGEST_BIN_COUNT:
            message = "a histogram bin would hold 2^31 values; calibrate on fewer samples"
            raise OverflowError(message)

    def add_histogram(self, other: Histogram) -> None:
        """Count all that another histogram counted."""
        self._counts += other.counts
        self._offsets += other.offsets
        self._squares += other.squares
        self._nan_count += other.nan_count
        self._infinity_count += other.infinity_count
        if other.count:
            self._minimum = min(self._minimum, other.minimum)
            self._maximum = max(self._maximum, other.maximum)

    def result(self) -> Histogram:
        """Give the histogram of everything counted so far."""
        low, high = (0.0, 0.0) if self._minimum > self._maximum else (self._minimum, self._maximum)
        return Histogram(
            self._counts.copy(),
            self._offsets.copy(),
            self._squares.copy(),
            low,
            high,
            self._nan_count,
            self._infinity_count,
        )

    def _finite(self, chunk: Float32) -> Float32:
        """Note the extremes, count NaN and infinities and leave them out."""
        low, high = float(chunk.min()), float(chunk.max())
        if not (math.isfinite(low) and math.isfinite(high)):
            nan_count = int(np.isnan(chunk).sum())
            finite = chunk[np.isfinite(chunk)]
            self._nan_count += nan_count
            self._infinity_count += chunk.size - finite.size - nan_count
            if finite.size == 0:
                return finite
            chunk = finite
            low, high = float(chunk.min()), float(chunk.max())
        self._minimum = min(self._minimum, _flush(low))
        self._maximum = max(self._maximum, _flush(high))
        return chunk

    def _count(self, chunk: Float32, bins: npt.NDArray[np.intp], offsets: Float64) -> None:
        """Add finite values to the tables; ``bins`` and ``offsets`` are room to work in."""
        halves = chunk.view(np.uint16)
        bins[:] = halves[_HIGH::2]
        if chunk.size < _FEW:
            whole = halves[_LOW::2].astype(np.int64)
            np.add.at(self._counts, bins, 1)
            np.add.at(self._offsets, bins, whole)
            np.add.at(self._squares, bins, whole * whole)
            return
        offsets[:] = halves[_LOW::2]
        self._counts += np.bincount(bins, minlength=BIN_COUNT)
        self._offsets += np.bincount(bins, offsets, BIN_COUNT).astype(np.int64)
        offsets *= offsets
        self._squares += np.bincount(bins, offsets, BIN_COUNT).astype(np.int64)


def histogram(values: Array) -> Histogram:
    """Give the histogram of one array."""
    accumulator = HistogramAccumulator()
    accumulator.add(values)
    return accumulator.result()


def merge(left: Histogram, right: Histogram) -> Histogram:
    """Give the histogram of the values of both: exact, commutative and associative."""
    accumulator = HistogramAccumulator()
    accumulator.add_histogram(left)
    accumulator.add_histogram(right)
    return accumulator.result()


def _flush(value: float) -> float:
    return value if abs(value) >= _SMALLEST_NORMAL else 0.0
