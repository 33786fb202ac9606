"""Counts of right answers, added up over batches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lowbitc.compiler.diagnostics import CompileError, error

if TYPE_CHECKING:
    from lowbitc.compiler.elements import Array

_TOP = 5


@dataclass(frozen=True, slots=True)
class Hits:
    """How many of ``count`` samples have their label first, or among the first five scores."""

    count: int = 0
    top1: int = 0
    top5: int = 0

    def __add__(self, other: Hits) -> Hits:
        """Add the counts of another part of the data."""
        return Hits(self.count + other.count, self.top1 + other.top1, self.top5 + other.top5)

    def rates(self) -> dict[str, float]:
        """Return the shares as metrics; empty when nothing was counted."""
        if self.count == 0:
            return {}
        return {"top1": self.top1 / self.count, "top5": self.top5 / self.count}


def count_hits(scores: Array, labels: Array) -> Hits:
    """Count the labels [n] found by scores [n, classes]; ties go to the lower class.

    Raises CompileError LB733 when labels and scores do not belong together, LB734 for NaN scores.
    """
    flat = np.reshape(np.asarray(scores, np.float64), (len(scores), -1))
    given = np.reshape(np.asarray(labels, np.float64), (len(labels), -1))
    wanted = given.astype(np.int64)
    whole = np.array_equal(given, wanted)
    inside = wanted.size > 0 and wanted.min() >= 0 and wanted.max() < flat.shape[1]
    if wanted.shape != (len(flat), 1) or not whole or not inside:
        raise CompileError(
            [
                error(
                    "LB733",
                    "the labels are not classes of the scores",
                    found=f"labels of shape {labels.shape} and type {labels.dtype}, up to "
                    f"{wanted.max() if wanted.size else 'nothing'}; {flat.shape[1]} scores",
                    allowed=f"one whole number from 0 to {flat.shape[1] - 1} a sample",
                    hint="check y, and that the model's first output holds the scores",
                )
            ]
        )
    if np.isnan(flat).any():
        raise CompileError(
            [error("LB734", "the scores hold NaN", found=f"{int(np.isnan(flat).sum())} values")]
        )
    right = np.take_along_axis(flat, wanted, axis=1)
    before = np.arange(flat.shape[1])[None, :] < wanted
    ahead = np.sum((flat > right) | ((flat == right) & before), axis=1)
    return Hits(len(flat), int(np.sum(ahead == 0)), int(np.sum(ahead < _TOP)))
