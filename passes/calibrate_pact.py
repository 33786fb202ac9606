"""Choose the PACT clip of every activation from calibration data, in bounded memory.

PACT (arXiv 1805.06085) quantizes y = clip(x, 0, α) in steps of α / (2^b − 1); here α is chosen
after training, from a histogram of what the float network computes.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from lowbitc.compiler.bits import Bits
from lowbitc.compiler.diagnostics import Diagnostic, error, raise_errors, warning
from lowbitc.compiler.elements import Array, LevelType, signed
from lowbitc.compiler.execute import FloatSession
from lowbitc.compiler.ir.graph import Graph, Stage
from lowbitc.compiler.ir.types import Clip
from lowbitc.compiler.manager import LayerError, Measured, PassResult
from lowbitc.compiler.statistics.clips import clip_min_max, clip_mse, clip_octav, clip_percentile
from lowbitc.compiler.statistics.expected_error import squared_errors
from lowbitc.compiler.statistics.histogram import HistogramAccumulator
from lowbitc.passes.chains import find_chains
from lowbitc.passes.fit_tables import fit_table_inputs
from lowbitc.passes.plan_levels import Group, plan_levels

if TYPE_CHECKING:
    from lowbitc.compiler.statistics.histogram import Histogram

Sample = Mapping[str, Array]
Samples = Callable[[], Iterable[Sample]]
"""Calibration data: each call starts over; one sample has the model's own input shapes."""

_ELEMENTS_AT_ONCE = 1 << 24
_SAMPLES_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class CalibratePact:
    """Fill ``Graph.clips`` for every value that holds levels on the chip.

    One histogram of fixed size for each group of values; samples stream through and are not kept.
    """

    name: ClassVar[str] = "calibrate-pact"
    samples: Samples
    bits: Bits = Bits()
    method: str = "mse"
    threads: int = 0

    def run(self, graph: Graph) -> PassResult:
        """Return the graph with its clips, in stage CALIBRATED.

        Raises CompileError LB301 when there is no sample, LB302 when values are not finite.
        """
        groups = plan_levels(graph, self.bits)
        histograms, count = self._collect(graph, groups)
        found: list[Diagnostic] = []
        if count == 0 and groups:
            found.append(
                error(
                    "LB301",
                    "the calibration data is empty",
                    found="0 samples",
                    allowed="at least 1 sample; 128 or more are better",
                    hint="give samples with --calib, or leave it out for a data-free calibration",
                )
            )
        clips: dict[str, Clip] = {}
        for group, histogram in zip(groups, histograms, strict=True):
            found += _check(graph, group, histogram)
            clip = choose_clip(group, histogram, self.method)
            clips.update(dict.fromkeys(group.values, clip))
        raise_errors(found)
        errors = tuple(_level_errors(graph, groups, histograms, clips))
        clips.update(fit_table_inputs(graph, clips, _alone(groups, histograms)))
        after = graph.replace(clips=clips, stage=Stage.CALIBRATED)
        return PassResult(after, changed=True, diagnostics=tuple(found), errors=errors)

    def _collect(self, graph: Graph, groups: tuple[Group, ...]) -> tuple[list[Histogram], int]:
        fetch = _worth_fetching(graph, groups)
        values = [v for held in fetch for v in held]
        # More threads would cut float products elsewhere, and so round them otherwise.
        session = FloatSession(graph, fetch=values, threads=1)
        builders = [HistogramAccumulator() for _ in groups]
        count = 0
        size = sum(graph.tensor(v).size for v in values)
        for joined, samples in _joined(self.samples(), max(_ELEMENTS_AT_ONCE // max(size, 1), 1)):
            made = session.run(joined)
            for index, held in enumerate(fetch):
                for value in held:
                    seen = joined[value] if value in joined else made[value]
                    builders[index].add(np.asarray(seen, np.float32))
            count += samples
        return [builder.result() for builder in builders], count


def _joined(samples: Iterable[Sample], most: int) -> Iterator[tuple[Sample, int]]:
    """Yield samples joined along axis 0, at most so many at once, and how many they are."""
    stream = iter(samples)
    while held := list(itertools.islice(stream, min(most, _SAMPLES_AT_ONCE))):
        shapes = {tuple(np.shape(array) for array in sample.values()) for sample in held}
        alike = len(shapes) == 1 and all(len(shape) for shape in next(iter(shapes)))
        if len(held) == 1 or not alike:
            yield from ((sample, 1) for sample in held)
        else:
            yield {k: np.concatenate([s[k] for s in held]) for k in held[0]}, len(held)


def _worth_fetching(graph: Graph, groups: tuple[Group, ...]) -> list[tuple[str, ...]]:
    """Return, by group, the values to look at: those not merely moved from another of the group."""
    makers = graph.producers()
    chosen: list[tuple[str, ...]] = []
    for group in groups:
        inside = set(group.values)
        kept = [
            value
            for value in group.values
            if value not in makers or not any(source in inside for source in makers[value].inputs)
        ]
        chosen.append(tuple(kept))
    return chosen


def _alone(groups: tuple[Group, ...], histograms: list[Histogram]) -> dict[str, Histogram]:
    """Return the histograms of groups of one value, by value."""
    pairs = zip(groups, histograms, strict=True)
    return {group.values[0]: held for group, held in pairs if len(group.values) == 1}


def _level_errors(
    graph: Graph,
    groups: tuple[Group, ...],
    histograms: list[Histogram],
    clips: Mapping[str, Clip],
) -> Iterator[LayerError]:
    """Yield, for every layer on the chip, what its clip costs the values that it puts out."""
    layers = {chain.output: chain.compute.name for chain in find_chains(graph)}
    for group, histogram in zip(groups, histograms, strict=True):
        power = histogram.mean_square()
        if not power:
            continue
        clip = clips[group.values[0]]
        scale = np.asarray([clip.scale])
        error = float(squared_errors(histogram, scale, clip.element)[0]) / power
        for value in group.values:
            if value in layers:
                yield LayerError(layers[value], Measured.LEVELS, clip.element.bits, error)


def choose_clip(group: Group, histogram: Histogram, method: str) -> Clip:
    """Choose the scale of a group, and its sign where the data decides."""
    element = group.element
    if group.measured and histogram.minimum < 0:
        element = signed(element.bits)
    scale = _scale(histogram, element, method)
    if element.maximum * scale > group.limit > 0:
        scale = group.limit / element.maximum
    return Clip(element, float(np.float32(scale)))


def _scale(histogram: Histogram, element: LevelType, method: str) -> float:
    if method == "minmax":
        return clip_min_max(histogram, element).scale
    if method == "percentile":
        return clip_percentile(histogram, element).scale
    if method == "octav":
        return clip_octav(histogram, element).scale
    return clip_mse(histogram, element).scale


def _check(graph: Graph, group: Group, histogram: Histogram) -> Iterable[Diagnostic]:
    makers = graph.producers()
    sources = makers[group.values[0]].sources if group.values[0] in makers else ()
    if histogram.nan_count or histogram.infinity_count:
        yield error(
            "LB302",
            f"calibration gives values at {group.values[0]} that are not finite",
            sources=sources,
            found=f"{histogram.nan_count} NaN, {histogram.infinity_count} infinite",
            allowed="finite values",
            hint="look at the calibration data and at the model's weights before this layer",
        )
    elif histogram.count and histogram.minimum == histogram.maximum == 0.0:
        yield warning(
            "LB303",
            f"{group.values[0]} is zero for every calibration sample",
            sources=sources,
            hint="the layer is dead, or the calibration data does not reach it",
        )
