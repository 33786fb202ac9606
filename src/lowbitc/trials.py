"""Compile a network at given bits, and measure what that loses, on samples kept apart."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lowbitc.compilation import Compilation, compile_with, open_stream, silent
from lowbitc.compiler.datasets.stream import Batch, InputSpec
from lowbitc.compiler.diagnostics import CompileError, error
from lowbitc.compiler.execute import FloatSession
from lowbitc.compiler.frontend import import_model
from lowbitc.compiler.metrics.metric import Scored
from lowbitc.compiler.metrics.naming import parse_metric
from lowbitc.compiler.metrics.tally import Tally, tally
from lowbitc.compiler.statistics.output_change import Change, compare
from lowbitc.data_doubts import calibrating
from lowbitc.options import NEAREST, below_full
from lowbitc.passes.name_outputs import output_kind
from lowbitc.targets.container import container_bytes
from lowbitc.targets.cost import LayerCost, estimate_cost
from lowbitc.targets.engines.events import Counts
from lowbitc.targets.engines.simulator import Simulator
from lowbitc.targets.registry import load_target

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import onnx

    from lowbitc.compilation import Report
    from lowbitc.compiler.bits import Bits
    from lowbitc.compiler.datasets.opening import DataSource
    from lowbitc.compiler.diagnostics import Diagnostic
    from lowbitc.compiler.elements import Array
    from lowbitc.options import Options
    from lowbitc.targets.container import Json

_BATCH = 16
_FEWEST_APART = 8
_COUNTED = 16
"""Samples whose events are counted for the energy: sums over levels, which vary little."""


@dataclass(frozen=True, slots=True)
class Trial:
    """A program at some bits, and what was measured of it.

    ``drop`` is float's metric less the program's where there are labels, else the drop that
    compiler/statistics/output_change.py expects. ``value`` and ``float_value`` are the metric.
    ``margin`` is the standard error of an expected drop; of a metric's it is 0.
    ``weights`` says how they were rounded; ``layers`` are the chip's by its cost model.
    """

    bits: Bits
    weights: str
    made: Compilation
    size_bytes: int
    energy_j: float
    dynamic_energy_j: float
    cycles: float
    processors: int
    layers: tuple[LayerCost, ...]
    samples: int = 0
    divergence: float = 0.0
    agreement: float = 0.0
    drop: float = 0.0
    margin: float = 0.0
    value: float | None = None
    float_value: float | None = None

    def as_json(self) -> dict[str, Json]:
        """Return what was measured as plain numbers and texts."""
        return {
            "size_bytes": self.size_bytes,
            "energy_j": self.energy_j,
            "cycles": self.cycles,
            "processors": self.processors,
            "samples": self.samples,
            "divergence": self.divergence,
            "agreement": self.agreement,
            "drop": self.drop,
            "margin": self.margin,
            "value": self.value,
            "float_value": self.float_value,
        }


class Trials:
    """One network, its calibration samples, and the samples that programs are measured on.

    With ``data`` that has labels, what counts is ``metric`` on it. Without, the last quarter of
    the calibration samples is kept apart: no trial calibrates on them.
    """

    def __init__(
        self,
        model: str | Path | onnx.ModelProto,
        options: Options,
        *,
        data: DataSource | None = None,
        metric: str = "top1",
        report: Report = silent,
    ) -> None:
        """Read the model and run it in float on the samples kept apart."""
        if options.calib is None:
            raise CompileError([_too_few(0)])
        self.model = model
        self.report = report
        self.graph = import_model(model, shapes=options.shapes).graph
        self.calib = open_stream(self.graph, options.calib, options.preprocess, options.states)
        count = min(len(self.calib), options.limit)
        if data is None:
            self._apart = max(count // 4, _FEWEST_APART)
            count = min(count, len(self.calib) - self._apart)
            if count < 1:
                raise CompileError([_too_few(len(self.calib))])
        self.options = dataclasses.replace(options, limit=count)
        self.data = (
            None
            if data is None
            else open_stream(self.graph, data, options.preprocess, options.states)
        )
        self.diagnostics = (
            ()
            if self.data is None
            else tuple(calibrating(self._calibrating(), self.data.batches(_BATCH)))
        )
        self.metric = parse_metric(metric)
        self.labelled = False
        self.wanted: list[dict[str, Array]] = []
        session = FloatSession(self.graph, threads=options.threads, fast=True)
        for batch in self._batches():
            self.labelled = batch.labels is not None
            self.wanted.append(self._float(session, batch))

    def run(self, bits: Bits, weights: str | None = None, *, measured: bool = True) -> Trial:
        """Compile at some bits; without ``measured``, only sizes and cost are found.

        ``weights`` is another way of rounding them than the options', for sizes; with 8 bits
        everywhere they go to the nearest level.
        """
        chosen = weights or (self.options.weights if below_full(bits) else NEAREST)
        options = dataclasses.replace(self.options, bits=bits, weights=chosen)
        made = compile_with(self.model, options, report=self.report)
        simulator = Simulator(made.program, threads=options.threads)
        counts, change, found = Counts(), Change(), Tally()
        for batch, wanted in zip(self._batches(), self.wanted, strict=True):
            counting = counts if counts.samples < _COUNTED else None
            if counting is None and not measured:
                break
            outputs = simulator.run(batch.inputs, counts=counting)
            change += self._change(wanted, outputs, batch.size)
            if self.labelled:
                found += tally(self.metric, Scored(outputs, batch.labels, wanted))
        target = load_target(options.target)
        cost, layers = estimate_cost(made.program, target, counts)
        trial = Trial(
            bits,
            chosen,
            made,
            len(container_bytes(made.program.container)),
            cost.energy_per_frame_j,
            cost.dynamic_energy_j,
            cost.cycles_per_frame,
            made.program.placement.most_processors,
            layers,
        )
        return self._judged(trial, change, found) if measured else trial

    def _change(
        self, wanted: Mapping[str, Array], outputs: Mapping[str, Array], size: int
    ) -> Change:
        """Return how far a batch's outputs are from float's, all outputs together."""
        total = Change()
        for name, reference in wanted.items():
            total += compare(output_kind(self.graph, name), reference, outputs[name], size)
        return dataclasses.replace(total, samples=size)

    def _judged(self, trial: Trial, change: Change, found: Tally) -> Trial:
        value = float_value = None
        drop, margin = change.drop, change.drop_margin
        if self.labelled:
            value = self.metric.value(found.rows())
            float_value = self.metric.value(found.rows(1))
            sign = 1 if self.metric.traits.higher_is_better else -1
            drop, margin = sign * (float_value - value), 0.0
        return dataclasses.replace(
            trial,
            samples=change.samples,
            divergence=change.divergence,
            agreement=change.agreeing / max(change.samples, 1),
            drop=drop,
            margin=margin,
            value=value,
            float_value=float_value,
        )

    def _float(self, session: FloatSession, batch: Batch) -> dict[str, Array]:
        """Return the float network's outputs, each [n, …] as a program's are."""
        feeds = {
            name: np.reshape(array, (-1, *self.graph.shape(name)[1:]))
            for name, array in batch.inputs.items()
        }
        specs = {name: InputSpec(name, self.graph.shape(name), "") for name in self.graph.outputs}
        return {
            name: np.reshape(array, (batch.size, *specs[name].sample_shape))
            for name, array in session.arrays(feeds).items()
        }

    def _calibrating(self) -> Iterator[Batch]:
        """Yield the samples that calibrate."""
        left = self.options.limit
        for batch in self.calib.batches(_BATCH):
            if left <= 0:
                return
            yield batch.first(left)
            left -= batch.size

    def _batches(self) -> Iterator[Batch]:
        """Yield the samples that programs are measured on."""
        if self.data is not None:
            yield from self.data.batches(_BATCH)
            return
        first, last, start = self.options.limit, self.options.limit + self._apart, 0
        for batch in self.calib.batches(_BATCH):
            inside = slice(max(first - start, 0), max(last - start, 0))
            start += batch.size
            held = {name: array[inside] for name, array in batch.inputs.items()}
            if start > first and Batch(held, None).size:
                # The labels of calibration samples are not looked at.
                yield Batch(held, None)


def _too_few(count: int) -> Diagnostic:
    return error(
        "LB453",
        "bits are chosen on calibration samples, and verified on others that are kept apart",
        found=f"{count} samples",
        allowed=f"more than {_FEWEST_APART}; 128 or more are better",
        hint="give samples with --calib, and labelled ones with --data where there are any",
    )
