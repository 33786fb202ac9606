"""Batches for tests of metrics, and what comes out of them."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

from lowbitc.compiler.metrics.metric import Scored
from lowbitc.compiler.metrics.naming import parse_metric
from lowbitc.compiler.metrics.tally import Tally, tally

if TYPE_CHECKING:
    from lowbitc.compiler.elements import Array, Float32
    from lowbitc.compiler.metrics.metric import Metric


def measure(
    metric: str | Metric, outputs: Array, labels: Array | None, reference: Array | None = None
) -> float:
    """Return a metric's figure of one batch."""
    held = parse_metric(metric) if isinstance(metric, str) else metric
    return held.value(measured(held, outputs, labels, reference).rows())


def measured(
    metric: Metric, outputs: Array, labels: Array | None, reference: Array | None = None
) -> Tally:
    """Return the tally of one batch."""
    theirs = None if reference is None else {"out": reference}
    return tally(metric, Scored({"out": outputs}, labels, theirs))


def in_parts(
    metric: Metric,
    outputs: Array,
    labels: Array,
    reference: Array | None,
    sizes: tuple[int, ...],
) -> Tally:
    """Return the sum of the tallies of batches of these sizes, the last batch first."""
    cuts = np.cumsum((0, *sizes, len(outputs) - sum(sizes)))
    found = Tally()
    for start, stop in reversed(list(itertools.pairwise(cuts.tolist()))):
        if start < stop:
            theirs = None if reference is None else reference[start:stop]
            found += measured(metric, outputs[start:stop], labels[start:stop], theirs)
    return found


def softened(count: int, classes: int, *, seed: int = 0) -> tuple[Float32, Array]:
    """Return scores [count, classes] that are right more often than not, and labels."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, count)
    scores = random.normal(0, 1, (count, classes))
    scores[np.arange(count), labels] += 2
    return scores.astype(np.float32), labels
