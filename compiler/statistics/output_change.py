"""How far a network's outputs have moved from the float network's, without labels.

Scores (logits or probabilities) are compared as distributions. ``divergence`` is the mean
Kullback-Leibler divergence KL(p ‖ q), smooth and so good to rank by. ``drop`` is the accuracy that
is lost if the float network's own probabilities p tell how often each answer is right: where the
answer changes from i to j, p_i − p_j, and a change between near ties costs next to nothing. A
sample of several positions loses as much as its worst position. Where one class is the answer of
most positions (CTC's blank), a sample is a text: repeats are one, that class is none. Where the
text stays nothing is lost, and where it changes all of the sample: probabilities of positions say
little of how often a text is right.

Other outputs are compared by Σ(y − y')² / Σ(y − mean)², for ``divergence`` and ``drop`` alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from lowbitc.compiler.elements import Array, Float64, Int64

_LEAST = 1e-9
"""Probabilities below this say no more than that it is small."""


@dataclass(frozen=True, slots=True)
class OutputKind:
    """What an output holds: scores along ``axis`` (counted from the end, −1 the last), or values.

    ``normalised`` scores are probabilities already; ``axis`` is None for values.
    """

    axis: int | None = None
    normalised: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """Sums over samples, so that batches add up; see the module for what they mean."""

    samples: int = 0
    divergence_sum: float = 0.0
    drop_sum: float = 0.0
    drop_squares: float = 0.0
    agreeing: int = 0
    """Samples whose answers are all the same; of values, none are counted."""
    error: float = 0.0
    power: float = 0.0

    def __add__(self, other: Change) -> Change:
        """Add the sums of further samples."""
        return Change(
            self.samples + other.samples,
            self.divergence_sum + other.divergence_sum,
            self.drop_sum + other.drop_sum,
            self.drop_squares + other.drop_squares,
            self.agreeing + other.agreeing,
            self.error + other.error,
            self.power + other.power,
        )

    @property
    def divergence(self) -> float:
        """Mean divergence a sample, and relative squared error of values on top of it."""
        return self.divergence_sum / max(self.samples, 1) + self._relative

    @property
    def drop(self) -> float:
        """Expected loss of accuracy, or relative squared error of values."""
        return max(self.drop_sum / max(self.samples, 1), self._relative)

    @property
    def drop_margin(self) -> float:
        """Standard error of the expected loss: what another choice of samples may make of it."""
        count = max(self.samples, 1)
        variance = self.drop_squares / count - (self.drop_sum / count) ** 2
        return float(np.sqrt(max(variance, 0.0) / count))

    @property
    def _relative(self) -> float:
        return self.error / self.power if self.power else 0.0


def compare(kind: OutputKind, wanted: Array, found: Array, samples: int) -> Change:
    """Compare an output of the float network with another's, for so many samples.

    Both hold the samples along axis 0, each in one row or several.
    """
    if kind.axis is None:
        y, z = np.asarray(wanted, np.float64), np.asarray(found, np.float64)
        difference, centred = (y - z).ravel(), (y - y.mean()).ravel()
        return Change(samples, error=float(difference @ difference), power=float(centred @ centred))
    p, q = (_probabilities(kind, side, samples) for side in (wanted, found))
    information = p * (np.log(np.maximum(p, _LEAST)) - np.log(np.maximum(q, _LEAST)))
    answers, chosen = (np.asarray(side.argmax(axis=2), np.int64) for side in (p, q))
    blank = _blank(answers)
    if blank is None:
        same = np.asarray((answers == chosen).all(axis=1))
        loss = (_picked(p, answers) - _picked(p, chosen)).max(axis=1)
    else:
        pairs = zip(answers, chosen, strict=True)
        same = np.asarray([_text(a, blank) == _text(b, blank) for a, b in pairs], np.bool_)
        loss = np.ones(len(same))
    return Change(
        samples,
        float(information.sum(axis=2).mean(axis=1).sum()),
        float(loss[~same].sum()),
        float(np.square(loss[~same]).sum()),
        int(same.sum()),
    )


def _blank(answers: Int64) -> int | None:
    """Return the class that most positions of [n, positions] answer with, if they spell texts."""
    classes, counts = np.unique(answers, return_counts=True)
    if answers.shape[1] == 1 or 2 * int(counts.max()) <= answers.size:
        return None
    return int(classes[counts.argmax()])


def _text(answers: Int64, blank: int) -> tuple[int, ...]:
    """Return the classes that positions spell, repeats merged, without blanks."""
    starts = np.append(True, answers[1:] != answers[:-1])
    return tuple(int(a) for a in answers[starts & (answers != blank)])


def _probabilities(kind: OutputKind, scores: Array, samples: int) -> Float64:
    """Return probabilities [n, positions, classes]."""
    axis = -1 if kind.axis is None else kind.axis
    moved = np.moveaxis(np.asarray(scores, np.float64), axis, -1)
    flat = moved.reshape(samples, -1, moved.shape[-1])
    if kind.normalised:
        return flat
    powers = np.exp(flat - flat.max(axis=2, keepdims=True))
    return np.asarray(powers / powers.sum(axis=2, keepdims=True))


def _picked(p: Float64, chosen: Int64) -> Float64:
    return np.take_along_axis(p, chosen[:, :, np.newaxis], axis=2)[:, :, 0]
