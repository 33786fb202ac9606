"""How often each level of a layer's output and of its weights occurs: what a histogram shows."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lowbitc.compilation import silent
from lowbitc.compiler.datasets.opening import open_dataset
from lowbitc.compiler.datasets.stream import InputSpec
from lowbitc.compiler.elements import ACCUMULATOR_BITS
from lowbitc.compiler.ir import quantized as q
from lowbitc.compiler.states import without_states
from lowbitc.simulation import preprocess_of
from lowbitc.targets.engines.simulator import Simulator
from lowbitc.targets.engines.tracing import Tracer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lowbitc.compilation import Report
    from lowbitc.compiler.datasets.opening import DataSource
    from lowbitc.compiler.elements import Array, Float64, Int64, LevelType
    from lowbitc.compiler.statistics.histogram import Histogram
    from lowbitc.targets.program.program import Program

_PIECES = 48
DEFAULT_SAMPLES = 16


@dataclass(frozen=True, slots=True)
class FloatShape:
    """A histogram of float values in pieces of one width from ``low`` on; shares of all."""

    low: float
    width: float
    shares: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class LevelShape:
    """How often each level occurs, as shares of all; value = level · scale.

    ``floats`` is the histogram of what the float network has in their place, if that is known.
    For weights, whose scale goes by channel, both are in units of the scale, which is then 1.
    """

    element: LevelType
    scale: float
    shares: tuple[float, ...]
    floats: FloatShape | None = None


def count_levels(levels: Array, element: LevelType) -> Int64:
    """Return how often each integer from the smallest level to the largest occurs."""
    size = element.maximum - element.minimum + 1
    offsets = levels.astype(np.int16).reshape(-1) - element.minimum
    return np.bincount(offsets, minlength=size).astype(np.int64)


def shape_of_counts(
    counts: Int64, element: LevelType, scale: float, floats: FloatShape | None = None
) -> LevelShape:
    """Return the shares of the levels that an alphabet has."""
    found = counts[element.levels() - element.minimum] / max(int(counts.sum()), 1)
    return LevelShape(element, scale, tuple(found.tolist()), floats)


def shape_of_histogram(histogram: Histogram) -> FloatShape | None:
    """Return a coarse histogram over the range of the values."""
    low, high = histogram.minimum, histogram.maximum
    if not low < high:
        return None
    zeros = np.array([float(histogram.zero_count)])
    above, below = histogram.positive(), histogram.negative()
    values = np.concatenate([above.means, -below.means, np.zeros(1)])
    counts = np.concatenate([above.counts, below.counts, zeros])
    return _pieces(values, counts, low, high)


def _pieces(values: Float64, counts: Float64, low: float, high: float) -> FloatShape:
    found, _ = np.histogram(values, _PIECES, (low, high), weights=counts)
    total = float(counts.sum()) or 1.0
    return FloatShape(low, (high - low) / _PIECES, tuple((found / total).tolist()))


def shape_of_weights(
    levels: Array, element: LevelType, scales: Float64, floats: Float64 | None
) -> LevelShape:
    """Return the shape of a layer's weights in units of their channels' scales.

    ``floats`` are the float weights as rows [O, K], one a scale.
    """
    shape = None
    if floats is not None and floats.size:
        units = floats / scales.reshape(-1, 1)
        reach = float(np.abs(units).max()) or 1.0
        shape = _pieces(units.reshape(-1), np.ones(units.size), -reach, reach)
    return shape_of_counts(count_levels(levels, element), element, 1.0, shape)


def weight_shapes(program: Program) -> Mapping[str, LevelShape]:
    """Return the shape of every layer's weights, by the layer's name."""
    found: dict[str, LevelShape] = {}
    for launch in program.launches:
        for node in launch.graph.nodes:
            if isinstance(node, q.WEIGHTED):
                held = launch.graph.tensor(node.inputs[1])
                if held.levels is not None:
                    levels = launch.graph.constants[node.inputs[1]]
                    scales = np.asarray(held.scale, np.float64)
                    found[node.name] = shape_of_weights(levels, held.levels, scales, None)
    return found


def output_shapes(
    program: Program,
    data: DataSource,
    *,
    samples: int = DEFAULT_SAMPLES,
    threads: int = 0,
    report: Report = silent,
) -> Mapping[str, LevelShape]:
    """Return the shape of what every layer puts out on the first samples, by its name."""
    specs = [InputSpec(p.name, p.shape or (), p.element) for p in program.inputs]
    dataset = open_dataset(data, without_states(specs, program.states), preprocess_of(program))
    tracer = Tracer()
    simulator = Simulator(program, threads=threads, maker=tracer.make)
    counts: dict[str, Int64] = {}
    for done, batch in enumerate(itertools.islice(dataset.batches(1), samples), start=1):
        simulator.run(batch.inputs)
        for launch in tracer.launches:
            for node in launch.graph.nodes:
                element = launch.graph.tensor(node.outputs[0]).levels
                if element is not None and element.bits < ACCUMULATOR_BITS:
                    seen = count_levels(launch.values[node.outputs[0]], element)
                    counts[node.name] = counts.get(node.name, 0) + seen
        report("look at levels", done, min(samples, len(dataset)))
    found: dict[str, LevelShape] = {}
    for launch in tracer.launches:
        for node in launch.graph.nodes:
            held = launch.graph.tensor(node.outputs[0])
            if node.name in counts and held.levels is not None:
                found[node.name] = shape_of_counts(counts[node.name], held.levels, held.scale[0])
    return found
