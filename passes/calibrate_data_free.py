"""Choose the clip of every activation without data, from estimated moments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from lowbitc.compiler.bits import Bits
from lowbitc.compiler.diagnostics import warning
from lowbitc.compiler.ir.graph import Graph, Stage
from lowbitc.compiler.manager import PassResult
from lowbitc.compiler.statistics.histogram import HistogramAccumulator
from lowbitc.passes.calibrate_pact import choose_clip
from lowbitc.passes.fit_tables import fit_table_inputs
from lowbitc.passes.plan_levels import Group, plan_levels
from lowbitc.passes.propagate_moments import Moments, propagate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lowbitc.compiler.diagnostics import Diagnostic
    from lowbitc.compiler.ir.types import Clip
    from lowbitc.compiler.statistics.histogram import Histogram


@dataclass(frozen=True, slots=True)
class CalibrateDataFree:
    """Fill ``Graph.clips`` from batch-norm statistics and weights, and warn that it did.

    ``known`` are moments of values that batch normalisation made in the imported graph.
    """

    name: ClassVar[str] = "calibrate-data-free"
    known: Mapping[str, Moments]
    bits: Bits = Bits()
    method: str = "mse"

    def run(self, graph: Graph) -> PassResult:
        """Return the graph with its clips, in stage CALIBRATED."""
        moments = propagate(graph, self.known)
        clips: dict[str, Clip] = {}
        seen_alone: dict[str, Histogram] = {}
        for group in plan_levels(graph, self.bits):
            histogram = _histogram(graph, group, moments)
            clip = choose_clip(group, histogram, self.method)
            clips.update(dict.fromkeys(group.values, clip))
            if len(group.values) == 1:
                seen_alone[group.values[0]] = histogram
        clips.update(fit_table_inputs(graph, clips, seen_alone))
        after = graph.replace(clips=clips, stage=Stage.CALIBRATED)
        seen = sum(value in self.known for value in clips)
        told = tell_data_free(
            "ranges are estimated from the weights"
            + (f" and the statistics of {len(self.known)} batch norms" if self.known else ""),
            f"{seen} of {len(clips)} activations have batch-norm statistics of their own",
        )
        return PassResult(after, changed=True, diagnostics=(told,))


def tell_data_free(how: str, found: str) -> Diagnostic:
    """Warn that no data was given, and what was done instead."""
    return warning(
        "LB310",
        f"calibrated without data: {how}",
        found=found,
        hint="give samples with --calib; without them expect a lower accuracy, "
        "the more so below 8 bits",
    )


def _histogram(graph: Graph, group: Group, moments: Mapping[str, Moments]) -> Histogram:
    makers = graph.producers()
    counted = HistogramAccumulator()
    for value in group.values:
        maker = makers.get(value)
        points = moments[value].points()
        if maker is not None and maker.op in {"Relu", "Clamp", "Bound"}:
            points = np.clip(moments[maker.inputs[0]].points(), 0.0, group.limit)
        counted.add(points)
    return counted.result()
