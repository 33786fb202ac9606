"""Confidence intervals of figures and of drops, and how many samples would decide.

Shares of samples have Wilson's interval [1]; the drop between two networks on the same samples
has Newcombe's paired one [2], which is made of the two Wilson intervals and of how often both
networks are right together. Other figures have the normal interval of their influence function
(the delta method; for ROC-AUC this is DeLong's [3]), at least as wide as Wilson's would be when
every sample agrees, so that few samples never look certain.

[1] E. B. Wilson, Probable inference, the law of succession, and statistical inference, 1927.
[2] R. G. Newcombe, Improved confidence intervals for the difference between binomial proportions
based on paired data, 1998, method 10.
[3] E. R. DeLong, D. M. DeLong and D. L. Clarke-Pearson, 1988.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

from lowbitc.compiler.metrics.metric import size

if TYPE_CHECKING:
    from collections.abc import Callable

    from lowbitc.compiler.metrics.metric import Metric
    from lowbitc.compiler.metrics.tally import Tally

_FEWEST = 30
"""Samples below which the normal interval means nothing."""
_MOST = 1 << 40
"""Samples beyond which a number of samples is no help."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A two-sided interval; bounds may be infinite where the samples say nothing."""

    low: float
    high: float

    def holds(self, bound: float) -> bool:
        """Whether a bound lies inside, so that the samples do not tell on which side they are."""
        return self.low <= bound <= self.high


def quantile(confidence: float) -> float:
    """Return z: a two-sided normal interval is z standard errors wide on each side."""
    return NormalDist().inv_cdf((1 + confidence) / 2)


def wilson(hits: float, count: float, confidence: float) -> Interval:
    """Return the interval of a share, ``hits`` of ``count`` samples."""
    z2 = quantile(confidence) ** 2
    share = hits / count
    middle = (hits + z2 / 2) / (count + z2)
    half = math.sqrt(z2 * (share * (1 - share) * count + z2 / 4)) / (count + z2)
    # At 0 and 1 the bound is exact; rounding must not move it inside.
    low = 0.0 if hits == 0 else max(middle - half, 0.0)
    high = 1.0 if hits == count else min(middle + half, 1.0)
    return Interval(low, high)


@dataclass(frozen=True, slots=True)
class Pairs:
    """How many samples both networks got right, one alone, and neither."""

    both: float
    float_alone: float
    program_alone: float
    neither: float

    @property
    def count(self) -> float:
        """Number of samples."""
        return self.both + self.float_alone + self.program_alone + self.neither

    def times(self, factor: float) -> Pairs:
        """Return the same shares of another number of samples."""
        return Pairs(
            self.both * factor,
            self.float_alone * factor,
            self.program_alone * factor,
            self.neither * factor,
        )


def newcombe(pairs: Pairs, confidence: float) -> Interval:
    """Return the interval of the drop: the float network's share less the program's."""
    a, b, c, d, n = pairs.both, pairs.float_alone, pairs.program_alone, pairs.neither, pairs.count
    theirs, mine = (a + b) / n, (a + c) / n
    first, second = wilson(a + b, n, confidence), wilson(a + c, n, confidence)
    spread = (a + b) * (c + d) * (a + c) * (b + d)
    excess = a * d - b * c
    if excess > 0:
        # The continuity correction of method 10.
        excess = max(excess - n / 2, 0.0)
    phi = excess / math.sqrt(spread) if spread > 0 else 0.0
    low = _combined(theirs - first.low, second.high - mine, phi)
    high = _combined(first.high - theirs, mine - second.low, phi)
    drop = theirs - mine
    return Interval(drop - low, drop + high)


def _combined(one: float, other: float, phi: float) -> float:
    return math.sqrt(max(one * one - 2 * phi * one * other + other * other, 0.0))


def value_interval(metric: Metric, tally: Tally, confidence: float, network: int = 0) -> Interval:
    """Return the interval of a figure of one network."""
    rows = tally.rows(network)
    if metric.traits.share:
        hits = sum(n for row, n in rows.items() if row[0])
        return wilson(hits, size(rows), confidence)
    moves = metric.influence(rows)
    squares = math.fsum(n * moves[row] ** 2 for row, n in rows.items())
    value = metric.value(rows)
    found = _normal(value, squares, size(rows), metric.traits.span, confidence)
    # What has a span begins at 0.
    low = found.low if metric.traits.span is None else max(found.low, 0.0)
    return Interval(low, found.high)


def drop_interval(metric: Metric, tally: Tally, confidence: float) -> Interval:
    """Return the interval of how much worse the program is than the float network."""
    if metric.traits.share:
        return newcombe(pairs_of(tally), confidence)
    mine, theirs = (metric.influence(tally.rows(network)) for network in (0, 1))
    squares = math.fsum(
        sorted(n * (theirs[key[1]] - mine[key[0]]) ** 2 for key, n in tally.counts.items())
    )
    return _normal(drop(metric, tally), squares, tally.samples, metric.traits.span, confidence)


def drop(metric: Metric, tally: Tally) -> float:
    """Return how much worse the program is than the float network; negative where it is better."""
    if metric.traits.share:
        pairs = pairs_of(tally)
        # One rounding: the difference of two rounded shares could pass or fail a bound by it.
        return (pairs.float_alone - pairs.program_alone) / pairs.count
    mine, theirs = (metric.value(tally.rows(network)) for network in (0, 1))
    return theirs - mine if metric.traits.higher_is_better else mine - theirs


def pairs_of(tally: Tally) -> Pairs:
    """Count the samples of a share that both networks, one, or none got right."""

    def count(mine: bool, theirs: bool) -> int:  # noqa: FBT001 - the two sides of a table
        return sum(
            n
            for key, n in tally.counts.items()
            if bool(key[0][0]) is mine and bool(key[1][0]) is theirs
        )

    return Pairs(count(True, True), count(False, True), count(True, False), count(False, False))


def _normal(
    value: float, squares: float, count: int, span: float | None, confidence: float
) -> Interval:
    if count < _FEWEST or (span is None and squares == 0):
        return Interval(-math.inf, math.inf)
    z = quantile(confidence)
    half = z * math.sqrt(squares / (count * (count - 1)))
    if span is not None:
        # What Wilson allows after so many samples that all agree.
        half = max(half, span * z * z / (count + z * z))
    return Interval(value - half, value + half)


def samples_needed(
    metric: Metric, tally: Tally, bound: float, confidence: float, *, drops: bool
) -> int | None:
    """Return how many samples like these would put the interval on one side of a bound.

    None where no number would, because the figure is the bound itself.
    """
    have = tally.samples
    if metric.traits.share and drops:
        pairs = pairs_of(tally)
        return _fewest(lambda n: newcombe(pairs.times(n / have), confidence).holds(bound), have)
    if metric.traits.share:
        hits = sum(n for row, n in tally.rows().items() if row[0])
        return _fewest(lambda n: wilson(hits * n / have, n, confidence).holds(bound), have)
    found = drop_interval if drops else value_interval
    now = found(metric, tally, confidence)
    gap = abs((drop(metric, tally) if drops else metric.value(tally.rows())) - bound)
    half = (now.high - now.low) / 2
    if gap == 0 or not math.isfinite(half):
        return None if gap == 0 else max(_FEWEST, have + 1)
    return math.ceil(have * max((half / gap) ** 2, half / gap)) + 1


def _fewest(undecided: Callable[[float], bool], have: int) -> int | None:
    """Return the least number of samples that decides, by halving."""
    low, high = have, 2 * have
    while undecided(high):
        low, high = high, 2 * high
        if high > _MOST:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if undecided(middle) else (low, middle)
    return high
