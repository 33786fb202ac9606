"""Rows of samples, counted: what travels between processes and is merged in any order."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lowbitc.compiler.metrics.metric import Scored

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from lowbitc.compiler.metrics.metric import Metric, Row, Rows


def _nothing() -> dict[tuple[Row, ...], int]:
    return {}


@dataclass(frozen=True, slots=True)
class Tally:
    """How many samples have which rows: the program's, and the float network's behind it.

    The sum of two tallies is that of their samples together, whatever the order.
    """

    counts: Mapping[tuple[Row, ...], int] = field(default_factory=_nothing)

    def __add__(self, other: Tally) -> Tally:
        """Merge with the tally of other samples."""
        return merged((self, other))

    @property
    def samples(self) -> int:
        """Number of samples."""
        return sum(self.counts.values())

    @property
    def paired(self) -> bool:
        """Whether the same samples went through the float network too."""
        return any(len(key) > 1 for key in self.counts)

    def rows(self, network: int = 0) -> Rows:
        """Return the rows of the program (0) or of the float network (1), in ascending order."""
        found: Counter[Row] = Counter()
        for key, n in self.counts.items():
            found[key[network]] += n
        return dict(sorted(found.items()))


def merged(tallies: Iterable[Tally]) -> Tally:
    """Merge any number of tallies."""
    found: Counter[tuple[Row, ...]] = Counter()
    for tally in tallies:
        found.update(tally.counts)
    return Tally(dict(found))


def tally(metric: Metric, scored: Scored) -> Tally:
    """Measure a batch: the program, and the float network where it ran and has labels to meet."""
    mine = metric.rows(scored)
    if scored.reference is None or metric.traits.fidelity:
        return Tally(dict(Counter((row,) for row in mine)))
    theirs = metric.rows(Scored(scored.reference, scored.labels))
    return Tally(dict(Counter(zip(mine, theirs, strict=True))))
