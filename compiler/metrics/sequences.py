"""Texts read by CTC: exact match, and the character error rate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lowbitc.compiler.metrics.classification import hit_share, share_influence
from lowbitc.compiler.metrics.metric import (
    Traits,
    labels_of,
    matrix,
    mismatched,
    output,
    size,
    total,
    unmeasurable,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lowbitc.compiler.elements import Array
    from lowbitc.compiler.metrics.metric import Row, Rows, Scored

_STEPS_AND_CLASSES = 3
_PAD = -1


@dataclass(frozen=True, slots=True)
class Reading:
    """How scores [n, steps, classes] become symbols: the best class a step, repeats once, no blank.

    ``charset`` holds a character for each class but the blank, in order, or for each class where
    it has as many; "" stands for labels that are class numbers.
    """

    blank: int = 0
    charset: tuple[str, ...] = ()
    output: str = ""

    def texts(self, metric: str, scored: Scored) -> list[tuple[object, ...]]:
        """Return the symbols that were read in each sample."""
        scores = matrix(output(scored, self.output))
        if scores.ndim != _STEPS_AND_CLASSES:
            raise unmeasurable(
                metric,
                f"an output of {scores.shape[1:]} a sample",
                allowed="steps and classes",
                hint="name the output that holds the scores, as output=NAME behind the metric",
            )
        best = np.argmax(scores, axis=2)
        symbols = self._symbols(metric, scores.shape[2])
        return [self._collapsed(line, symbols) for line in best.tolist()]

    def labels(self, metric: str, labels: Array) -> list[tuple[object, ...]]:
        """Return the symbols of labels: texts [n], or class numbers [n, most] padded with −1."""
        if labels.dtype.kind in "US" and labels.ndim == 1 and self.charset:
            return [tuple(str(text)) for text in labels.astype(str).tolist()]
        if labels.dtype.kind in "iu" and labels.ndim == 2 and not self.charset:  # noqa: PLR2004 - [n, most]
            return [tuple(v for v in line if v != _PAD) for line in labels.tolist()]
        raise mismatched(
            metric,
            f"labels of shape {labels.shape} and type {labels.dtype}, "
            f"{'a' if self.charset else 'no'} charset",
            "texts and a charset, or class numbers [samples, most] padded with -1 and no charset",
        )

    def _symbols(self, metric: str, classes: int) -> dict[int, object]:
        if not 0 <= self.blank < classes:
            raise unmeasurable(metric, f"blank {self.blank} of {classes} classes")
        numbers = [c for c in range(classes) if c != self.blank]
        if not self.charset:
            return {c: c for c in numbers}
        if len(self.charset) == classes:
            return {c: self.charset[c] for c in numbers}
        if len(self.charset) != len(numbers):
            raise unmeasurable(
                metric,
                f"a charset of {len(self.charset)} characters for {classes} classes",
                allowed=f"{len(numbers)} characters, or {classes} with one for the blank",
                hint="give the charset that the model was trained with",
            )
        return dict(zip(numbers, self.charset, strict=True))

    def _collapsed(self, line: list[int], symbols: Mapping[int, object]) -> tuple[object, ...]:
        firsts = (c for i, c in enumerate(line) if i == 0 or c != line[i - 1])
        return tuple(symbols[c] for c in firsts if c != self.blank)


@dataclass(frozen=True, slots=True)
class ExactMatch:
    """The share of samples that are read without a mistake. Rows are (hit,)."""

    reading: Reading = Reading()
    name: str = "exact"

    @property
    def traits(self) -> Traits:
        """A share of samples."""
        return Traits(share=True)

    def rows(self, scored: Scored) -> Sequence[Row]:
        """Return (hit,) of each sample."""
        labels = self.reading.labels(self.name, labels_of(scored))
        read = self.reading.texts(self.name, scored)
        return [(int(r == wanted),) for r, wanted in zip(read, labels, strict=True)]

    def value(self, rows: Rows) -> float:
        """Return the share."""
        return hit_share(rows)

    def influence(self, rows: Rows) -> Mapping[Row, float]:
        """Return how far a row is above the share."""
        return share_influence(rows)

    def chance(self, rows: Rows) -> float | None:
        """Return 0: nobody guesses a text."""
        del rows
        return 0.0


@dataclass(frozen=True, slots=True)
class CharacterErrors:
    """Edits (insertions, deletions, replacements) over characters. Rows are (edits, characters)."""

    reading: Reading = Reading()
    name: str = "cer"

    @property
    def traits(self) -> Traits:
        """Lower is better."""
        return Traits(higher_is_better=False)

    def rows(self, scored: Scored) -> Sequence[Row]:
        """Return (edits, characters) of each sample."""
        labels = self.reading.labels(self.name, labels_of(scored))
        read = self.reading.texts(self.name, scored)
        return [(edits(r, wanted), len(wanted)) for r, wanted in zip(read, labels, strict=True)]

    def value(self, rows: Rows) -> float:
        """Return the rate; raises CompileError LB736 where every label is empty."""
        characters = total(rows, 1)
        if characters == 0:
            raise unmeasurable(self.name, "every label is empty", allowed="texts with characters")
        return total(rows, 0) / characters

    def influence(self, rows: Rows) -> Mapping[Row, float]:
        """Return the derivative of a ratio of sums."""
        value, mean = self.value(rows), total(rows, 1) / size(rows)
        return {row: (row[0] - value * row[1]) / mean for row in rows}

    def chance(self, rows: Rows) -> float | None:
        """Return 1: a network that reads nothing."""
        del rows
        return 1.0


def edits(read: tuple[object, ...], wanted: tuple[object, ...]) -> int:
    """Return the least number of insertions, deletions and replacements (Levenshtein)."""
    above = list(range(len(wanted) + 1))
    for i, symbol in enumerate(read, 1):
        row = [i]
        for j, other in enumerate(wanted, 1):
            row.append(min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (symbol != other)))
        above = row
    return above[-1]
