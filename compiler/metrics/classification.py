"""Measures of classes: the label among the first k scores, agreement with float, F1."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lowbitc.compiler.metrics.metric import (
    Traits,
    float_output,
    labels_of,
    matrix,
    mean_of,
    mismatched,
    output,
    size,
    unmeasurable,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lowbitc.compiler.elements import Array, Float64, Int64
    from lowbitc.compiler.metrics.metric import Row, Rows, Scored

_SHARE = Traits(share=True)
_FIDELITY = Traits(share=True, fidelity=True)


@dataclass(frozen=True, slots=True)
class TopK:
    """The share of samples whose label is among the ``k`` highest scores [n, classes].

    Ties go to the lower class. Rows are (hit, label).
    """

    name: str = "top1"
    k: int = 1
    output: str = ""

    @property
    def traits(self) -> Traits:
        """A share of samples."""
        return _SHARE

    def rows(self, scored: Scored) -> Sequence[Row]:
        """Return (hit, label) of each sample."""
        scores = matrix(output(scored, self.output))
        labels = classes_of(self.name, labels_of(scored), scores.shape)
        return list(zip((_ranks(scores, labels) < self.k).tolist(), labels.tolist(), strict=True))

    def value(self, rows: Rows) -> float:
        """Return the share of hits."""
        return hit_share(rows)

    def influence(self, rows: Rows) -> Mapping[Row, float]:
        """Return how far a row is above the share."""
        return share_influence(rows)

    def chance(self, rows: Rows) -> float | None:
        """Return the share of the k most frequent labels."""
        frequent = _label_counts(rows).most_common(self.k)
        return sum(n for _, n in frequent) / size(rows)


@dataclass(frozen=True, slots=True)
class Agreement:
    """The share of samples that the program and the float network give the same class.

    Rows are (same, float class). It needs no labels.
    """

    name: str = "agreement"
    output: str = ""

    @property
    def traits(self) -> Traits:
        """A share of samples, against the float network."""
        return _FIDELITY

    def rows(self, scored: Scored) -> Sequence[Row]:
        """Return (same, float class) of each sample."""
        mine = matrix(output(scored, self.output))
        theirs = matrix(float_output(scored, self.output))
        if mine.shape != theirs.shape or mine.ndim != 2 or mine.shape[1] < 2:  # noqa: PLR2004 - [n, 2 and more]
            raise unmeasurable(
                self.name,
                f"outputs of shape {mine.shape} and {theirs.shape}",
                allowed="one row of scores a sample, the same from both",
            )
        same = np.argmax(mine, axis=1) == np.argmax(theirs, axis=1)
        return list(zip(same.astype(int).tolist(), np.argmax(theirs, axis=1).tolist(), strict=True))

    def value(self, rows: Rows) -> float:
        """Return the share; raises CompileError LB736 where float knows one class alone."""
        if len({row[1] for row in rows}) < 2:  # noqa: PLR2004 - one class is none
            raise unmeasurable(
                self.name,
                "the float network gives every sample the same class",
                allowed="samples of several classes",
                hint="check the data and its preprocessing",
            )
        return hit_share(rows)

    def influence(self, rows: Rows) -> Mapping[Row, float]:
        """Return how far a row is above the share."""
        return share_influence(rows)

    def chance(self, rows: Rows) -> float | None:
        """Return the share of the float network's most frequent class."""
        return _label_counts(rows).most_common(1)[0][1] / size(rows)


@dataclass(frozen=True, slots=True)
class F1:
    """The harmonic mean of precision and recall: of class 1, or averaged over classes.

    One score a sample is class 1 when it is above ``threshold``; else the highest score wins.
    Rows are (label, class). A class that is neither a label nor given has no part in the average.
    """

    name: str = "f1"
    macro: bool = False
    threshold: float = 0.5
    output: str = ""

    @property
    def traits(self) -> Traits:
        """A figure from 0 to 1."""
        return Traits()

    def rows(self, scored: Scored) -> Sequence[Row]:
        """Return (label, class) of each sample."""
        scores = matrix(output(scored, self.output))
        single = scores.shape[1] == 1
        shape = (len(scores), 2) if single else scores.shape
        if not self.macro and shape[1] != 2:  # noqa: PLR2004 - two classes
            raise unmeasurable(
                self.name,
                f"{shape[1]} scores a sample",
                allowed="one or two scores",
                hint="use f1-macro for more than two classes",
            )
        labels = classes_of(self.name, labels_of(scored), shape)
        chosen = scores[:, 0] > self.threshold if single else np.argmax(scores, axis=1)
        return list(zip(labels.tolist(), chosen.astype(int).tolist(), strict=True))

    def value(self, rows: Rows) -> float:
        """Return F1; raises CompileError LB736 where no sample has a class that counts."""
        counted = self._counted(rows)
        return math.fsum(_f1(c) for c in counted.values()) / len(counted)

    def influence(self, rows: Rows) -> Mapping[Row, float]:
        """Return the derivative of F1 = 2·TP / (labels + given) by a sample's weight."""
        counted, n = self._counted(rows), size(rows)
        return {
            row: n
            / len(counted)
            * math.fsum(
                (2 * (row[0] == row[1] == label) - _f1(c) * ((row[0] == label) + (row[1] == label)))
                / (c.labels + c.given)
                for label, c in counted.items()
            )
            for row in rows
        }

    def chance(self, rows: Rows) -> float | None:
        """Return the F1 of giving every sample the most frequent label, or class 1."""
        labels: Counter[float] = Counter()
        for row, n in rows.items():
            labels[row[0]] += n
        top = labels.most_common(1)[0][1] if self.macro else labels[1]
        classes = len(labels) if self.macro else 1
        return 2 * top / (top + size(rows)) / classes

    def _counted(self, rows: Rows) -> dict[float, _Counts]:
        found: dict[float, _Counts] = {}
        for label in sorted(set(itertools.chain.from_iterable(rows))) if self.macro else (1,):
            counts = _Counts(
                right=sum(n for row, n in rows.items() if row[0] == row[1] == label),
                labels=sum(n for row, n in rows.items() if row[0] == label),
                given=sum(n for row, n in rows.items() if row[1] == label),
            )
            if counts.labels + counts.given:
                found[label] = counts
        if not any(c.labels for c in found.values()):
            raise unmeasurable(self.name, "no sample has the label 1", allowed="labels 0 and 1")
        return found


@dataclass(frozen=True, slots=True)
class _Counts:
    right: int
    labels: int
    given: int


def _f1(counts: _Counts) -> float:
    return 2 * counts.right / (counts.labels + counts.given)


def hit_share(rows: Rows) -> float:
    """Return the share of samples whose row begins with a hit."""
    return sum(n for row, n in rows.items() if row[0]) / size(rows)


def share_influence(rows: Rows) -> dict[Row, float]:
    """Return how far each row is above the share of hits."""
    share = mean_of(rows, lambda row: row[0])
    return {row: row[0] - share for row in rows}


def classes_of(metric: str, labels: Array, scores: tuple[int, ...]) -> Int64:
    """Return labels [n] that are classes of scores [n, classes]; else raise CompileError LB733."""
    allowed = "one whole number a sample, and one row of scores"
    if labels.dtype.kind not in "iufb" or len(scores) != 2:  # noqa: PLR2004 - [n, classes]
        found = f"labels of type {labels.dtype}, scores of shape {scores}"
        raise mismatched(metric, found, allowed)
    flat = np.reshape(np.asarray(labels, np.float64), (len(labels), -1))
    wanted = np.nan_to_num(flat, nan=-1, posinf=-1, neginf=-1).astype(np.int64)
    whole = flat.shape == (scores[0], 1) and bool((flat == wanted).all())
    if not whole or wanted.min() < 0 or wanted.max() >= scores[1]:
        raise mismatched(
            metric,
            f"labels of shape {labels.shape} and type {labels.dtype}, from "
            f"{labels.min() if labels.size else 'nothing'} to "
            f"{labels.max() if labels.size else 'nothing'}; {scores[1]} scores",
            f"one whole number from 0 to {scores[1] - 1} a sample",
        )
    return wanted[:, 0]


def _ranks(scores: Float64, labels: Int64) -> Int64:
    """Return how many scores are ahead of each label's."""
    right = np.take_along_axis(scores, labels[:, None], axis=1)
    before = np.less.outer(np.arange(scores.shape[1], dtype=np.int64), labels).T
    ahead = np.asarray((scores > right) | ((scores == right) & before), np.int64)
    return np.asarray(ahead.sum(axis=1))


def _label_counts(rows: Rows) -> Counter[float]:
    found: Counter[float] = Counter()
    for row, n in rows.items():
        found[row[1]] += n
    return found
