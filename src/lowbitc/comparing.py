"""Say which layer of a program is to blame for what it loses against the float model."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lowbitc.bounds import measured
from lowbitc.compilation import open_stream, silent
from lowbitc.compiler.diagnostics import warning
from lowbitc.compiler.execute import FloatSession
from lowbitc.compiler.execute_fractions import to_fractions
from lowbitc.compiler.ir import quantized as q
from lowbitc.compiler.metrics.metric import Scored, matrix
from lowbitc.compiler.metrics.naming import default_metrics, parse_metrics
from lowbitc.compiler.metrics.tally import Tally, tally
from lowbitc.compiler.numerics import spec
from lowbitc.compiler.statistics.error_sums import ErrorFigures, ErrorSums
from lowbitc.compiler.statistics.histogram import HistogramAccumulator
from lowbitc.layer_errors import LayerErrors, LayerMeter
from lowbitc.matching import MOVES, match_program
from lowbitc.passes.quantize import level_name
from lowbitc.simulation import load, preprocess_of
from lowbitc.targets.engines.simulator import Simulator
from lowbitc.targets.engines.tracing import TracedLaunch, Tracer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import onnx

    from lowbitc.compilation import Report
    from lowbitc.compiler.datasets.opening import DataSource
    from lowbitc.compiler.datasets.stream import Batch
    from lowbitc.compiler.diagnostics import Diagnostic, Source
    from lowbitc.compiler.elements import Array, Float32
    from lowbitc.compiler.metrics.metric import Metric
    from lowbitc.compiler.statistics.histogram import Histogram
    from lowbitc.matching import Layer, Match
    from lowbitc.targets.container import Json
    from lowbitc.targets.program.program import Program
    from lowbitc.verdict import Measured

DEFAULT_LIMIT = 128
DEFAULT_LEFT_OUT = 16
BAD_DB = 6.0
"""A layer that loses this much more than its bits allow is bad: one bit of resolution."""
_CONFIDENCE = 0.95
_TELLING_DB = 3.0
_BATCH_BYTES = 1 << 28
_MOST_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What the whole network's outputs would be if one layer were exact.

    ``gain_db`` is by how much the ratio of signal to error of the outputs would rise.
    """

    output_sqnr_db: float
    gain_db: float


@dataclass(frozen=True, slots=True)
class ComparedLayer:
    """A layer of the program beside its float twin, in the order of running.

    ``excess_db`` says how much more it loses than its bits make it lose, ``cause`` why;
    ``rank`` 1 is the layer to blame first. ``weight_bits`` is 0 without weights.
    """

    name: str
    op: str
    tensor: str
    sources: tuple[Source, ...]
    weight_bits: int
    output: str
    errors: LayerErrors
    left_out: LeftOut | None
    rank: int = 0

    @property
    def excess_db(self) -> float:
        """The largest excess of its parts."""
        return max((part.excess_db for part in self.errors.parts), default=0.0)

    @property
    def bad(self) -> bool:
        """Whether it loses clearly more than its bits make it lose.

        An output of nothing but zeros still has 0 dB: where few bits could not give much more, half
        of what they could give is too little.
        """
        half = self.errors.local.sqnr_db < self.errors.expected_db / 2
        return self.excess_db >= (BAD_DB / 2 if half else BAD_DB)

    @property
    def cause(self) -> str:
        """What is off, in words; empty where nothing is."""
        if not self.bad:
            return ""
        # Parts stand from the most telling one to the least: a bad clip spoils the whole layer.
        near = self.excess_db - _TELLING_DB
        return next(part.what for part in self.errors.parts if part.excess_db >= near)

    def as_json(self) -> dict[str, Json]:
        """Return plain dictionaries, lists, numbers and texts."""
        held = dataclasses.asdict(self)
        errors = held.pop("errors")
        # Histograms are for the page; they would make up most of the JSON.
        del errors["outputs"], errors["weights"]
        errors["parts"] = list(errors["parts"])
        held["sources"] = [dataclasses.asdict(source) for source in self.sources]
        verdict = {"excess_db": self.excess_db, "bad": self.bad, "cause": self.cause}
        return {**held, **errors, **verdict}


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a comparison found; ``layers`` are in the order of running.

    ``metrics`` are those of the program and of the float model, where the data has labels.
    """

    samples: int
    left_out_samples: int
    output: ErrorFigures
    metrics: tuple[Measured, ...]
    layers: tuple[ComparedLayer, ...]
    diagnostics: tuple[Diagnostic, ...] = ()

    @property
    def ranking(self) -> tuple[ComparedLayer, ...]:
        """The layers, the one to blame first."""
        return tuple(sorted(self.layers, key=lambda layer: layer.rank))

    @property
    def first_bad(self) -> ComparedLayer | None:
        """The first layer, in the order of running, that is bad by itself."""
        return next((layer for layer in self.layers if layer.bad), None)

    def as_json(self) -> dict[str, Json]:
        """Return plain dictionaries, lists, numbers and texts."""
        first = self.first_bad
        return {
            "samples": self.samples,
            "left_out_samples": self.left_out_samples,
            "output": dataclasses.asdict(self.output),
            "metrics": {m.name: m.value for m in self.metrics},
            "float_metrics": {m.name: m.float_value for m in self.metrics},
            "first_bad": None if first is None else first.name,
            "ranking": [layer.name for layer in self.ranking],
            "layers": [layer.as_json() for layer in self.layers],
        }


def facts_of(comparison: Comparison) -> dict[str, dict[str, str]]:
    """Return what was measured of each layer as texts, for an annotated model."""
    found: dict[str, dict[str, str]] = {}
    for layer in comparison.layers:
        facts = {
            "blame": str(layer.rank),
            "excess_db": f"{layer.excess_db:.2f}",
            "sqnr_alone_db": f"{layer.errors.local.sqnr_db:.2f}",
            "sqnr_in_network_db": f"{layer.errors.accumulated.sqnr_db:.2f}",
        }
        found[layer.name] = {**facts, **({"bad": layer.cause} if layer.bad else {})}
    return found


def compare(  # noqa: PLR0913 - one argument a setting
    model: str | Path | onnx.ModelProto,
    program: Program | str | Path,
    data: DataSource,
    *,
    limit: int | None = DEFAULT_LIMIT,
    left_out: int = DEFAULT_LEFT_OUT,
    threads: int = 0,
    metrics: Sequence[str] = (),
    report: Report = silent,
) -> Comparison:
    """Run the float model and its program side by side on the first ``limit`` samples.

    On the first ``left_out`` of them, the program also runs once for each layer with that layer
    exact. ``metrics`` are as in ``simulate``. Raises CompileError LB770 where the program is not
    that of the model.
    """
    held = load(program) if isinstance(program, (str, Path)) else program
    match = match_program(held, model)
    run = _Run(match, threads, parse_metrics(metrics))
    dataset = open_stream(match.graph, data, preprocess_of(held), held.states)
    wanted = len(dataset) if limit is None else min(limit, len(dataset))
    done = 0
    for batch in _first(dataset.batches(run.batch), wanted):
        run.add(batch, min(max(left_out - done, 0), batch.size))
        done += batch.size
        report("compare", done, wanted)
    found = run.result(done, min(left_out, done))
    return dataclasses.replace(found, diagnostics=tuple(_doubts(held)))


def _doubts(program: Program) -> Iterator[Diagnostic]:
    """Yield what keeps a comparison from meaning what it says."""
    if "training" in program.options:
        yield warning(
            "LB775",
            "the program was trained, so its layers need not compute what the float ones do",
            found=f"training {program.options['training']}",
            hint="judge it by its outputs, or compare a program of the same bits without training",
        )


def _first(batches: Iterator[Batch], wanted: int) -> Iterator[Batch]:
    for batch in batches:
        if wanted <= 0:
            return
        yield batch.first(wanted)
        wanted -= batch.size


class _Run:
    """Both networks, ready to run, and what was added up so far."""

    def __init__(self, match: Match, threads: int, metrics: Sequence[Metric]) -> None:
        self.match = match
        self.metrics = tuple(metrics)
        self.tallies: dict[str, Tally] = {}
        self.tracer = Tracer()
        self.simulator = Simulator(match.program, threads=threads, maker=self.tracer.make)
        groups = _scale_groups(match)
        shared = {group: HistogramAccumulator() for group in groups.values()}
        self.groups = groups
        self.histograms = shared
        self.meters = tuple(
            LayerMeter(match, layer, shared[groups[layer.value]]) for layer in match.layers
        )
        fetched = dict.fromkeys(v for meter in self.meters for v in meter.fetches())
        self.floats = FloatSession(match.graph, tuple(fetched), threads=1)
        self.exact = tuple(match.session(x) if x.floats else None for x in match.layers)
        self.output = ErrorSums()
        self.output_before = ErrorSums()
        self.output_without = tuple(ErrorSums() for _ in match.layers)
        size = sum(match.graph.tensor(v).size for v in fetched)
        self.batch = max(1, min(_MOST_AT_ONCE, _BATCH_BYTES // max(8 * size, 1)))

    def add(self, batch: Batch, left_out: int) -> None:
        """Look at a batch; on its first ``left_out`` samples, leave out every layer in turn."""
        floats, outputs = self._float(batch)
        self.tracer.record()
        made = self.simulator.run(batch.inputs)
        self._add_outputs(self.output, outputs, made, batch.size)
        self._measure(Scored(made, batch.labels, outputs))
        for meter in self.meters:
            launch = self.tracer.launches[meter.layer.launch]
            meter.add(floats, launch, batch.size)
        if not left_out:
            return
        if left_out < batch.size:
            batch = batch.first(left_out)
            outputs = {name: array[:left_out] for name, array in outputs.items()}
            self.tracer.record()
            made = self.simulator.run(batch.inputs)
        self._add_outputs(self.output_before, outputs, made, batch.size)
        for number, layer in enumerate(self.match.layers):
            self.tracer.replace(layer.launch, layer.value, self._exactly(number, layer))
            made = self.simulator.run(batch.inputs)
            self._add_outputs(self.output_without[number], outputs, made, batch.size)

    def _measure(self, scored: Scored) -> None:
        """Add the metrics of both networks."""
        if not self.metrics and scored.labels is not None:
            scores = scored.outputs[self.match.program.outputs[0].name]
            self.metrics = default_metrics(matrix(scores).shape[-1])
        for metric in self.metrics:
            before = self.tallies.get(metric.name, Tally())
            self.tallies[metric.name] = before + tally(metric, scored)

    def _float(self, batch: Batch) -> tuple[dict[str, Array], dict[str, Array]]:
        """Return all values of the float network, with gains, and its outputs as [n, …]."""
        graph = self.match.graph
        feeds = {
            name: np.reshape(
                np.asarray(array, graph.tensor(name).element.name), (-1, *graph.shape(name)[1:])
            )
            for name, array in batch.inputs.items()
        }
        found = self.floats.arrays(feeds)
        outputs = {v: np.asarray(found[v]) for v in graph.outputs}
        return {v: self.match.scaled(v, array) for v, array in found.items()}, outputs

    @staticmethod
    def _add_outputs(
        sums: ErrorSums, wanted: Mapping[str, Array], made: Mapping[str, Array], samples: int
    ) -> None:
        for name, array in wanted.items():
            found = np.asarray(made[name])
            if found.size == array.size:
                sums.add(array, found, samples)

    def _exactly(self, number: int, layer: Layer) -> Array:
        """Return what the float layer makes of the program's values, in units of levels."""
        match, launch = self.match, self.tracer.launches[layer.launch]
        session = self.exact[number]
        if session is None:
            made = launch.values[layer.inputs[0]]
        else:
            feeds = {
                tensor: match.scaled(tensor, _value(launch, tensor), back=True)
                for tensor in layer.inputs
            }
            made = match.scaled(layer.tensor, session.arrays(feeds)[layer.tensor])
        scale = launch.graph.tensor(layer.value).scale
        if len(scale) == 1:
            return to_fractions(made, scale[0])
        shape = [1] * made.ndim
        shape[-1 if isinstance(layer.node, q.QDense) else 1] = -1
        return np.asarray(made, np.float32) / np.reshape(np.asarray(scale, np.float32), shape)

    # --- results ---------------------------------------------------------------------------------

    def result(self, samples: int, left_out: int) -> Comparison:
        """Return what was found, ranked."""
        histograms = {group: held.result() for group, held in self.histograms.items()}
        layers = [
            self._layer(number, meter, histograms[self.groups[meter.layer.value]], left_out)
            for number, meter in enumerate(self.meters)
        ]
        metrics = tuple(measured(m, self.tallies[m.name], _CONFIDENCE) for m in self.metrics)
        return Comparison(samples, left_out, self.output.figures(), metrics, _ranked(layers))

    def _layer(
        self, number: int, meter: LayerMeter, histogram: Histogram, left_out: int
    ) -> ComparedLayer:
        layer = meter.layer
        graph = self.match.program.launches[layer.launch].graph
        weights = graph.tensor(layer.node.inputs[1]).levels if len(layer.node.inputs) > 1 else None
        weighted = isinstance(layer.node, q.WEIGHTED)
        without = None
        if left_out:
            before = self.output_before.figures().sqnr_db
            after = self.output_without[number].figures().sqnr_db
            without = LeftOut(after, after - before)
        return ComparedLayer(
            name=layer.tensor if isinstance(layer.node, q.Quantize) else layer.node.name,
            op=layer.node.op,
            tensor=layer.tensor,
            sources=layer.sources,
            weight_bits=weights.bits if weights is not None and weighted else 0,
            output=meter.held.element.name,
            errors=meter.result(histogram),
            left_out=without,
        )


def _value(launch: TracedLaunch, tensor: str) -> Float32:
    """Return what the program has for a user's tensor."""
    levels = level_name(tensor)
    if levels not in launch.values:
        return np.asarray(launch.values[tensor], np.float32)
    return spec.dequantize(launch.values[levels], launch.graph.tensor(levels).scale)


def _ranked(layers: Sequence[ComparedLayer]) -> tuple[ComparedLayer, ...]:
    """Return the layers with their ranks: bad ones by their excess, then others by their gain."""

    def key(layer: ComparedLayer) -> tuple[bool, float]:
        gain = layer.left_out.gain_db if layer.left_out is not None else 0.0
        return (not layer.bad, -layer.excess_db if layer.bad else -gain)

    order = {id(layer): n for n, layer in enumerate(sorted(layers, key=key), start=1)}
    return tuple(dataclasses.replace(layer, rank=order[id(layer)]) for layer in layers)


def _scale_groups(match: Match) -> dict[str, str]:
    """Map each value that holds levels to a name for all values that share its scale."""
    parent: dict[str, str] = {}

    def root(value: str) -> str:
        parent.setdefault(value, value)
        while parent[value] != value:
            value = parent[value]
        return value

    for launch in match.program.launches:
        for node in launch.graph.nodes:
            own = root(node.outputs[0])
            if isinstance(node, MOVES):
                for value in node.inputs:
                    parent[root(value)] = own
    return {value: root(value) for value in tuple(parent)}
