"""Run a program on data, and say what came out: metrics, events, cost."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lowbitc.compilation import silent
from lowbitc.compiler.metrics.naming import default_names, parse_metrics
from lowbitc.evaluation import Work, preprocess_of
from lowbitc.spreading import HERE, evaluate
from lowbitc.targets.container import container_bytes
from lowbitc.targets.cost import Cost, LayerCost, estimate_cost
from lowbitc.targets.engines.registry import DEFAULT_ENGINE
from lowbitc.targets.program.load import load_program
from lowbitc.targets.registry import load_target
from lowbitc.targets.shares import DeviceShares, device_shares

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lowbitc.compilation import Report
    from lowbitc.compiler.datasets.opening import DataSource
    from lowbitc.compiler.elements import Array
    from lowbitc.evaluation import Part
    from lowbitc.spreading import Spread
    from lowbitc.targets.container import Json
    from lowbitc.targets.program.program import Program


__all__ = ["Simulation", "load", "preprocess_of", "simulate", "simulation_of"]


@dataclass(frozen=True, slots=True)
class Simulation:
    """What a simulation measured; ``as_json`` is what ``lowbitc simulate --format json`` prints.

    ``throughput`` is in samples a second on this computer, ``cpu_time_share`` the share of that
    time in pieces that run on the CPU beside the chip; ``cost`` is the chip's by the model.
    ``outputs`` holds the network's outputs [n, …] when they were asked for.
    """

    samples: int
    metrics: Mapping[str, float]
    engine: str
    throughput: float
    cpu_time_share: float
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
            "cpu_time_share": self.cpu_time_share,
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
    spread: Spread = HERE,
    report: Report = silent,
) -> Simulation:
    """Run a program on a data set, or on its first ``limit`` samples.

    ``metrics`` are spelled as in docs/gate.md; where none is asked for and the data has labels, it
    is top-1 and top-5 of the first output. Raises CompileError LB7xx when data and program do not
    belong together.
    """
    held = load_program(program) if isinstance(program, (str, Path)) else program
    work = Work(
        container_bytes(held.container),
        data,
        tuple(metrics),
        engine,
        threads,
        keep_outputs=keep_outputs,
    )
    found = evaluate(work, held, limit=limit, spread=spread, report=report)
    return simulation_of(held, found, work)


def simulation_of(program: Program, found: Part, work: Work) -> Simulation:
    """Say what a measurement means: figures, and the chip's cost by its model."""
    cost, layers = estimate_cost(program, load_target(program.target), found.counts)
    levels = sum(layer.levels for layer in found.counts.layers.values())
    events = sum(layer.events for layer in found.counts.layers.values())
    measured = parse_metrics(work.metrics or default_names(found.tallies))
    return Simulation(
        samples=found.samples,
        metrics={m.name: m.value(found.tallies[m.name].rows()) for m in measured},
        engine=work.engine,
        throughput=found.samples / found.seconds if found.seconds else 0.0,
        cpu_time_share=found.host_seconds / found.seconds if found.seconds else 0.0,
        device=device_shares(program),
        cost=cost,
        sparsity=1 - events / levels if levels else 0.0,
        layers=layers,
        outputs=found.outputs,
    )
