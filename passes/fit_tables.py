"""Choose the scale of what a table reads by the error of what the table gives.

A layer with an activation that is no clip rounds twice: its sum to the table's index, and the
activation to the output's levels. The index of least squared error spends its levels where the
activation is flat (SiLU below -6, sigmoid beyond ±6). Since the layer's bias moves the index at no
cost, it need not be symmetric either.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lowbitc.compiler.ir.types import Clip
from lowbitc.passes.chains import find_chains
from lowbitc.passes.tabulate import activation_table, activation_values

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lowbitc.compiler.elements import Float64, LevelType
    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.compiler.ir.node import Node
    from lowbitc.compiler.statistics.histogram import Histogram

_STEPS_IN_OCTAVE = 6
_OCTAVES = 5
_LOWEST = (0.0, -1.0, -2.0, -3.0, -4.0, -6.0, -8.0, -12.0, -16.0)
"""Where an index may start: beyond, the activations with a tail are flat."""


def fit_table_inputs(
    graph: Graph, clips: Mapping[str, Clip], histograms: Mapping[str, Histogram]
) -> dict[str, Clip]:
    """Return new clips for the sums that a table follows, by value.

    ``histograms`` are those of the sums, by value; sums without one keep their clip.
    """
    chosen: dict[str, Clip] = {}
    for chain in find_chains(graph):
        value = chain.compute.outputs[0]
        if chain.table is not None and value in histograms and histograms[value].count:
            points = _points(histograms[value])
            chosen[value] = _best(graph, chain.table, clips[value], clips[chain.output], points)
    return chosen


def _points(histogram: Histogram) -> tuple[Float64, Float64]:
    """Return values and how often each was seen."""
    above, below = histogram.positive(), histogram.negative()
    values = np.concatenate([np.zeros(1), above.means, -below.means])
    zeros = np.full(1, float(histogram.zero_count))
    return values, np.concatenate([zeros, above.counts, below.counts])


def _best(
    graph: Graph, node: Node, given: Clip, output: Clip, points: tuple[Float64, Float64]
) -> Clip:
    values, counts = points
    wanted = activation_values(graph, node, values)
    best, least = given, np.inf
    for clip in (given, *_candidates(given.element, values)):
        table = activation_table(graph, node, clip, output).astype(np.float64) * output.scale
        index = np.floor(values / clip.scale + 0.5) + clip.zero
        levels = np.clip(index, clip.element.minimum, clip.element.maximum).astype(np.int64)
        gap = table[levels - clip.element.minimum] - wanted
        error = float((counts * gap * gap).sum())
        if error < least:
            best, least = clip, error
    return best


def _candidates(element: LevelType, values: Float64) -> Iterator[Clip]:
    """Yield indices from a lowest to a highest value, in falling order of the highest."""
    steps = element.maximum - element.minimum
    top, bottom = max(float(values.max()), 0.0), min(float(values.min()), 0.0)
    starts = sorted({max(low, bottom) for low in (*_LOWEST, bottom)})
    for step in range(_OCTAVES * _STEPS_IN_OCTAVE):
        high = top * 2.0 ** (-step / _STEPS_IN_OCTAVE)
        for low in starts:
            scale = float(np.float32((high - low) / steps))
            if scale > 0:
                yield Clip(element, scale, round(element.minimum - low / scale))
