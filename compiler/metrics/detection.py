"""Average precision of detections at an overlap of one half."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lowbitc.compiler.metrics.metric import (
    Traits,
    labels_of,
    mismatched,
    output,
    size,
    unmeasurable,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from lowbitc.compiler.elements import Array, Float64, Int64
    from lowbitc.compiler.metrics.metric import Row, Rows, Scored

_DETECTION = 6
_BOX = 5
_WANTED, _MISSED, _FOUND = -1, 0, 1


@dataclass(frozen=True, slots=True)
class AveragePrecision:
    """AP at IoU 0.5, the area under the precision envelope, averaged over classes that are labels.

    The output is [n, most, 6]: x1, y1, x2, y2, score, class, after decoding and suppression; a
    score of 0 or less pads. Labels are [n, most, 5]: x1, y1, x2, y2, class, padded with class −1;
    a last dimension of 4 stands for class 0 alone, padded with NaN. In an image, detections take
    the label of most overlap that is left, by falling score.

    Rows hold three numbers a detection or label: class, score, and 1 for a detection that met a
    label, 0 for one that did not, −1 for a label.
    """

    name: str = "ap50"
    output: str = ""
    overlap: float = 0.5

    @property
    def traits(self) -> Traits:
        """A figure from 0 to 1."""
        return Traits()

    def rows(self, scored: Scored) -> Sequence[Row]:
        """Return the matched detections and the labels of each image."""
        found = output(scored, self.output)
        if found.ndim != 3 or found.shape[2] != _DETECTION:  # noqa: PLR2004 - [n, most, 6]
            raise unmeasurable(
                self.name,
                f"an output of shape {found.shape}",
                allowed="[samples, most, 6]: x1, y1, x2, y2, score, class",
                hint="decode the output with decode=package.module:function behind the metric",
            )
        labels = self._boxes(labels_of(scored), len(found))
        return [
            self._matched(np.asarray(d, np.float64), b) for d, b in zip(found, labels, strict=True)
        ]

    def value(self, rows: Rows) -> float:
        """Return the mean over classes; raises CompileError LB736 without a label."""
        return _mean_precision(_columns(rows), self.name)

    def influence(self, rows: Rows) -> Mapping[Row, float]:
        """Return how far the figure falls without an image (the jackknife)."""
        columns, n = _columns(rows), size(rows)
        value = _mean_precision(columns, self.name)
        return {
            row: (n - 1) * (value - _mean_precision(columns.without(index), self.name))
            for index, row in enumerate(rows)
        }

    def chance(self, rows: Rows) -> float | None:
        """Return 0: nobody guesses a box."""
        del rows
        return 0.0

    def _boxes(self, labels: Array, count: int) -> Iterator[Float64]:
        """Yield the labels of each image, [k, 5]."""
        width = labels.shape[-1] if labels.ndim == 3 else 0  # noqa: PLR2004 - [n, most, 5]
        if labels.dtype.kind not in "iuf" or len(labels) != count or width not in {4, _BOX}:
            raise mismatched(
                self.name,
                f"labels of shape {labels.shape} and type {labels.dtype}",
                "[samples, most, 5]: x1, y1, x2, y2, class, padded with class -1",
            )
        for held in labels.astype(np.float64):
            if width == _BOX:
                boxes = held[held[:, 4] >= 0]
            else:
                boxes = np.pad(held[~np.isnan(held).any(axis=1)], ((0, 0), (0, 1)))
            if not bool(np.isfinite(boxes).all()) or bool((boxes[:, 2:4] < boxes[:, :2]).any()):
                raise mismatched(
                    self.name, "a box whose corners are not in order", "x1 <= x2 and y1 <= y2"
                )
            yield boxes

    def _matched(self, found: Float64, boxes: Float64) -> Row:
        kept = found[found[:, 4] > 0]
        kept = kept[np.lexsort((*kept.T[:4], kept[:, 5], -kept[:, 4]))]
        left = np.ones(len(boxes), bool)
        marks: list[tuple[float, float, int]] = [(float(b[4]), 0.0, _WANTED) for b in boxes]
        for detection in kept:
            shares = _overlaps(detection, boxes)
            shares[(boxes[:, 4] != detection[5]) | ~left] = 0.0
            best = int(np.argmax(shares)) if len(shares) else -1
            met = best >= 0 and bool(shares[best] >= self.overlap)
            if met:
                left[best] = False
            marks.append((float(detection[5]), float(detection[4]), _FOUND if met else _MISSED))
        return tuple(itertools.chain.from_iterable(sorted(marks)))


@dataclass(frozen=True, slots=True)
class _Columns:
    """Marks of all images one after another, and how often each image's marks count."""

    image: Int64
    label: Float64
    score: Float64
    mark: Float64
    counts: Int64

    def without(self, image: int) -> _Columns:
        """Return the same with an image once less."""
        counts = self.counts.copy()
        counts[image] -= 1
        return _Columns(self.image, self.label, self.score, self.mark, counts)


def _columns(rows: Rows) -> _Columns:
    marks = [np.reshape(np.asarray(row, np.float64), (-1, 3)) for row in rows]
    joined = np.concatenate(marks) if marks else np.empty((0, 3))
    image = np.repeat(np.arange(len(marks), dtype=np.int64), [len(m) for m in marks])
    counts = np.asarray(list(rows.values()), np.int64)
    return _Columns(image, joined[:, 0], joined[:, 1], joined[:, 2], counts)


def _mean_precision(columns: _Columns, metric: str) -> float:
    wanted = columns.mark == _WANTED
    weights = columns.counts[columns.image]
    labels = sorted(set(columns.label[wanted & (weights > 0)].tolist()))
    if not labels:
        raise unmeasurable(metric, "no image has a labelled box", allowed="boxes in y")
    return math.fsum(_precision(columns, weights, label) for label in labels) / len(labels)


def _precision(columns: _Columns, weights: Int64, label: float) -> float:
    """Return the area under the envelope of precision over recall, one class."""
    mine = columns.label == label
    wanted = int(weights[mine & (columns.mark == _WANTED)].sum())
    made = mine & (columns.mark != _WANTED)
    # Equal scores count at once, so that the order of images does not matter.
    scores, at = np.unique(-columns.score[made], return_inverse=True)
    hits, all_made = np.zeros(len(scores), np.int64), np.zeros(len(scores), np.int64)
    np.add.at(hits, at, weights[made] * (columns.mark[made] == _FOUND))
    np.add.at(all_made, at, weights[made])
    right, given = np.cumsum(hits), np.maximum(np.cumsum(all_made), 1)
    envelope = np.maximum.accumulate((right / given)[::-1])[::-1]
    return math.fsum((envelope * hits).tolist()) / wanted


def _overlaps(box: Float64, others: Float64) -> Float64:
    """Return intersection over union of a box with each of others."""
    low = np.maximum(others[:, :2], box[:2])
    high = np.minimum(others[:, 2:4], box[2:4])
    shared = np.prod(np.maximum(high - low, 0), axis=1)
    areas = np.prod(others[:, 2:4] - others[:, :2], axis=1) + np.prod(box[2:4] - box[:2])
    union = areas - shared
    return np.asarray(np.divide(shared, union, out=np.zeros_like(shared), where=union > 0))
