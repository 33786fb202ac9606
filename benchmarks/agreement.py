"""How close two runs of one network are: noise, and the decisions that its user takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Callable

Array = npt.NDArray[np.float64]
Float64 = npt.NDArray[np.float64]


def sqnr_db(wanted: Array, found: Array) -> float:
    """Return 10 · log10(Σ wanted² / Σ (wanted − found)²); infinite where both are equal."""
    a, b = (np.asarray(x, np.float64) for x in (wanted, found))
    noise = float(np.square(a - b).sum())
    return float("inf") if noise == 0 else 10 * float(np.log10(np.square(a).sum() / noise))


def same_class(wanted: Array, found: Array) -> float:
    """Return how often both give one class: scores [n, C, …] of size 1 beyond the classes."""
    a, b = (np.asarray(x).reshape(len(x), -1).argmax(axis=1) for x in (wanted, found))
    return float(np.mean(np.equal(a, b)))


def divergence(wanted: Array, found: Array) -> float:
    """Return the mean Kullback-Leibler divergence of ``found`` from ``wanted``, in nats.

    Rows [n, C] of logits, or of probabilities where they sum to 1.
    """
    a, b = (
        _log_probabilities(np.asarray(x, np.float64).reshape(len(x), -1)) for x in (wanted, found)
    )
    return float(np.mean((np.exp(a) * (a - b)).sum(axis=1)))


def class_figures(
    wanted: Array, found: npt.ArrayLike, labels: npt.ArrayLike | None
) -> dict[str, float]:
    """Return top-1 on labels, and how often and how nearly scores [n, C] agree with float's."""
    scores = np.asarray(found, np.float64).reshape(wanted.shape)
    return {
        "top1": float(np.mean(np.equal(scores.argmax(axis=1), labels))),
        "same": same_class(wanted, scores),
        "divergence": divergence(wanted, scores),
    }


def _log_probabilities(scores: Float64) -> Float64:
    if scores.min() >= 0 and np.allclose(scores.sum(axis=1), 1, atol=1e-2):
        return np.log(np.maximum(scores, 1e-9))
    moved = scores - scores.max(axis=1, keepdims=True)
    return np.asarray(moved - np.log(np.exp(moved).sum(axis=1, keepdims=True)))


def same_pitch(wanted: Array, found: Array) -> float:
    """Return how often both pitches are within 50 cents: scores [n, 360] of bins of 20 cents."""
    a, b = (np.asarray(x).argmax(axis=1) for x in (wanted, found))
    return float(np.mean(np.less_equal(np.abs(a - b), 2)))


def same_text(wanted: Array, found: Array, blank: int = 0) -> float:
    """Return how often both read one text by CTC: scores [n, time, C] or [n, time, 1, C]."""
    pairs = zip(read_ctc(wanted, blank), read_ctc(found, blank), strict=True)
    return float(np.mean([a == b for a, b in pairs]))


def same_text_blank_last(wanted: Array, found: Array) -> float:
    """Do as ``same_text`` where the last class is the blank."""
    return same_text(wanted, found, wanted.shape[-1] - 1)


def read_ctc(scores: Array, blank: int) -> list[tuple[int, ...]]:
    """Return the best path of each sample without repeats and blanks."""
    best = np.asarray(scores).reshape(len(scores), -1, scores.shape[-1]).argmax(axis=2)
    return [
        tuple(int(c) for i, c in enumerate(row) if c != blank and (i == 0 or row[i - 1] != c))
        for row in best
    ]


def same_decision(wanted: Array, found: Array) -> float:
    """Return how often both probabilities are on one side of a half."""
    return float(np.mean(np.equal(np.greater(wanted, 0.5), np.greater(found, 0.5))))


def cosine(wanted: Array, found: Array) -> float:
    """Return the mean cosine of the angle between vectors along the last dimension."""
    a, b = (np.asarray(x, np.float64).reshape(-1, x.shape[-1]) for x in (wanted, found))
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return float(np.mean(np.divide((a * b).sum(axis=1), np.maximum(norms, 1e-12))))


def same_boxes(wanted: Array, found: Array) -> float:
    """Return the F1 of boxes of YOLOX scores [n, anchors, 5 + C], matched at an IoU of 0.5."""
    matched = total = 0
    for a, b in zip(np.asarray(wanted), np.asarray(found), strict=True):
        left, right = _boxes(a), _boxes(b)
        total += len(left) + len(right)
        if len(left) and len(right):
            near = _overlaps(left, right) > 0.5
            matched += int(near.any(axis=1).sum() + near.any(axis=0).sum())
    return matched / total if total else 1.0


def _boxes(scores: Array, size: int = 416, least: float = 0.3) -> Float64:
    """Return boxes x0, y0, x1, y1 of one picture that are sure and do not overlap."""
    held = np.asarray(scores, np.float64).reshape(-1, scores.shape[-1])
    centres: list[Array] = []
    strides: list[Float64] = []
    for stride in (8, 16, 32):
        rows, columns = np.mgrid[: size // stride, : size // stride]
        centres.append(np.stack([columns.ravel(), rows.ravel()], axis=1))
        strides.append(np.full((rows.size, 1), float(stride)))
    step = np.concatenate(strides)
    middle = (held[:, :2] + np.concatenate(centres)) * step
    half = np.exp(np.clip(held[:, 2:4], -10, 10)) * step / 2
    sure = held[:, 4] * held[:, 5:].max(axis=1)
    corners = np.concatenate([middle - half, middle + half], axis=1)
    kept: list[Float64] = []
    for index in np.argsort(-sure, kind="stable"):
        if sure[index] < least:
            break
        box = corners[index][np.newaxis]
        if not kept or _overlaps(box, np.concatenate(kept)).max() < 0.45:
            kept.append(box)
    return np.concatenate(kept) if kept else np.empty((0, 4))


def _overlaps(a: Float64, b: Float64) -> Float64:
    low = np.maximum(a[:, np.newaxis, :2], b[:, :2])
    high = np.minimum(a[:, np.newaxis, 2:], b[:, 2:])
    both = np.maximum(high - low, 0).prod(axis=2)
    areas = [np.maximum(x[:, 2:] - x[:, :2], 0).prod(axis=1) for x in (a, b)]
    union: Float64 = areas[0][:, np.newaxis] + areas[1] - both
    return both / np.maximum(union, 1e-9)


MEASURES: dict[str, Callable[[Array, Array], float]] = {
    "same class": same_class,
    "same pitch": same_pitch,
    "same text": same_text,
    "same text, blank last": same_text_blank_last,
    "same decision": same_decision,
    "cosine": cosine,
    "F1 of boxes": same_boxes,
}
