"""The area under the ROC curve: how well one score tells two classes apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lowbitc.compiler.metrics.classification import classes_of
from lowbitc.compiler.metrics.metric import Traits, labels_of, matrix, output, size, unmeasurable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lowbitc.compiler.elements import Float64, Int64
    from lowbitc.compiler.metrics.metric import Row, Rows, Scored

_TWO = 2


@dataclass(frozen=True, slots=True)
class RocAuc:
    """The chance that a sample of class 1 has a higher score than one of class 0; ties count half.

    The score is the only one of a sample, or the second of two less the first. Rows are
    (score, label).
    """

    name: str = "auc"
    output: str = ""

    @property
    def traits(self) -> Traits:
        """A figure from 0 to 1."""
        return Traits()

    def rows(self, scored: Scored) -> Sequence[Row]:
        """Return (score, label) of each sample."""
        scores = matrix(output(scored, self.output))
        if scores.ndim != _TWO or scores.shape[1] > _TWO:
            raise unmeasurable(
                self.name, f"scores of shape {scores.shape}", allowed="one or two scores a sample"
            )
        labels = classes_of(self.name, labels_of(scored), (len(scores), _TWO))
        chosen = scores[:, 0] if scores.shape[1] == 1 else scores[:, 1] - scores[:, 0]
        return list(zip(chosen.tolist(), labels.tolist(), strict=True))

    def value(self, rows: Rows) -> float:
        """Return the area, from whole numbers; raises CompileError LB736 for one class alone."""
        _, positive, negative, beaten = self._counts(rows)
        # Twice the number of pairs in order, so that halves stay whole.
        won = int(np.sum(beaten * positive))
        return won / (_TWO * int(positive.sum()) * int(negative.sum()))

    def influence(self, rows: Rows) -> Mapping[Row, float]:
        """Return DeLong's components: how a sample fares against all of the other class."""
        scores, positive, negative, beaten = self._counts(rows)
        ones, zeros, n = int(positive.sum()), int(negative.sum()), size(rows)
        value = self.value(rows)
        below = beaten / (_TWO * zeros)
        before = np.concatenate(([0], np.cumsum(positive)[:-1]))
        above = (_TWO * (ones - before - positive) + positive) / (_TWO * ones)
        at = {score: index for index, score in enumerate(scores.tolist())}
        return {
            row: (below[at[row[0]]] - value) * n / ones
            if row[1]
            else (above[at[row[0]]] - value) * n / zeros
            for row in rows
        }

    def chance(self, rows: Rows) -> float | None:
        """Return one half."""
        del rows
        return 0.5

    def _counts(self, rows: Rows) -> tuple[Float64, Int64, Int64, Int64]:
        """Return distinct scores, samples of each class there, and twice the zeros below."""
        scores = np.asarray(sorted({row[0] for row in rows}), np.float64)
        positive, negative = np.zeros(len(scores), np.int64), np.zeros(len(scores), np.int64)
        at = {score: index for index, score in enumerate(scores.tolist())}
        for (score, label), n in rows.items():
            (positive if label else negative)[at[score]] += n
        if not positive.any() or not negative.any():
            raise unmeasurable(
                self.name, "samples of one class alone", allowed="samples of both classes"
            )
        beaten = _TWO * (np.cumsum(negative) - negative) + negative
        return scores, positive, negative, beaten
