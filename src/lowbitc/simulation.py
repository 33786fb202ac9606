"""Run a program on data, and say what came out: metrics, events, cost."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lowbitc.compilation import silent
from lowbitc.compiler.datasets.opening import open_dataset
from lowbitc.compiler.datasets.preprocess import Preprocess
from lowbitc.compiler.datasets.stream import InputSpec
from lowbitc.compiler.metrics.metric import Scored, matrix
from lowbitc.compiler.metrics.naming import default_metrics, parse_metrics
from lowbitc.compiler.metrics.tally import Tally, tally
from lowbitc.targets.cost import Cost, LayerCost, estimate_cost
from lowbitc.targets.engines.events import Counts
from lowbitc.targets.engines.registry import DEFAULT_ENGINE
from lowbitc.targets.engines.simulator import Simulator
from lowbitc.targets.program.codec import decode
from lowbitc.targets.program.load import load_program
from lowbitc.targets.registry import load_target
from lowbitc.targets.shares import DeviceShares, device_shares

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from lowbitc.compilation import Report
    from lowbitc.compiler.datasets.opening import DataSource
    from lowbitc.compiler.datasets.stream import Batch
    from lowbitc.compiler.elements import Array
    from lowbitc.targets.container import Json
    from lowbitc.targets.program.program import Program


@dataclass(frozen=True, slots=True)
class Simulation:
    """What a simulation measured; ``as_json`` is what ``lowbitc simulate --format json`` prints.

    ``throughput`` is in samples a second on this computer; ``cost`` is the chip's by the model.
    ``outputs`` holds the network's outputs [n, …] when they were asked for.
    """

    samples: int
    metrics: Mapping[str, float]
    engine: str
    throughput: float
    device: DeviceShares
    cost: Cost
    sparsity: float
    layers: tuple[LayerCost, ...]
    outputs: Mapping[str, Array] | None = None

    def as_json(self) -> dict[str, Json]:
        """Return plain dictionaries, lists, numbers and texts."""
        return {
            "samples": self.samples,
            "metrics": dict(self.metrics),
            "engine": self.engine,
            "throughput": self.throughput,
            "device": asdict(self.device),
            "cost": asdict(self.cost),
            "sparsity": self.sparsity,
            "layers": [layer.as_json() for layer in self.layers],
        }


def load(path: str | Path) -> Program:
    """Read a program; raises CompileError LB6xx when it is damaged or from a newer version."""
    return load_program(path)


def simulate(  # noqa: PLR0913 - one argument a setting
    program: Program | str | Path,
    data: DataSource,
    *,
    engine: str = DEFAULT_ENGINE,
    limit: int | None = None,
    threads: int = 0,
    metrics: Sequence[str] = (),
    keep_outputs: bool = False,
    report: Report = silent,
) -> Simulation:
    """Run a program on a data set, or on its first ``limit`` samples.

    ``metrics`` are spelled as in docs/gate.md; where none is asked for and the data has labels, it
    is top-1 and top-5 of the first output. Raises CompileError LB7xx when data and program do not
    belong together.
    """
    measured = parse_metrics(metrics)
    held = load_program(program) if isinstance(program, (str, Path)) else program
    specs = [InputSpec(p.name, p.shape or (), p.element) for p in held.inputs]
    dataset = open_dataset(data, specs, preprocess_of(held))
    simulator = Simulator(held, engine, threads=threads)
    wanted = len(dataset) if limit is None else min(limit, len(dataset))
    counts, seconds, done = Counts(), 0.0, 0
    tallies: dict[str, Tally] = {}
    kept: list[Mapping[str, Array]] = []
    for batch in _limited(dataset.batches(simulator.batch), wanted):
        start = time.perf_counter()
        outputs = simulator.run(batch.inputs, counts=counts)
        seconds += time.perf_counter() - start
        if not metrics and batch.labels is not None:
            measured = default_metrics(matrix(outputs[held.outputs[0].name]).shape[-1])
        scored = Scored(outputs, batch.labels)
        for metric in measured:
            tallies[metric.name] = tallies.get(metric.name, Tally()) + tally(metric, scored)
        if keep_outputs:
            kept.append(outputs)
        done += batch.size
        report("simulate", done, wanted)
    target = load_target(held.target)
    cost, layers = estimate_cost(held, target, counts)
    levels = sum(layer.levels for layer in counts.layers.values())
    events = sum(layer.events for layer in counts.layers.values())
    return Simulation(
        samples=wanted,
        metrics={m.name: m.value(tallies[m.name].rows()) for m in measured},
        engine=engine,
        throughput=wanted / seconds if seconds else 0.0,
        device=device_shares(held),
        cost=cost,
        sparsity=1 - events / levels if levels else 0.0,
        layers=layers,
        outputs=_joined(kept) if keep_outputs else None,
    )


def preprocess_of(program: Program) -> Preprocess | None:
    """Return how images become the program's input, as it was when it was compiled."""
    held = program.preprocess
    return None if held is None else decode(Preprocess, held, "preprocess")


def _limited(batches: Iterator[Batch], wanted: int) -> Iterator[Batch]:
    left = wanted
    for batch in batches:
        if left <= 0:
            return
        yield batch.first(left)
        left -= batch.size


def _joined(kept: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
    names = kept[0].keys() if kept else ()
    return {name: np.concatenate([part[name] for part in kept]) for name in names}
