"""What a report page shows: the program, and whatever a command has measured of it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lowbitc.compiler.ir import quantized as q
from lowbitc.compiler.metrics.intervals import wilson
from lowbitc.compiler.metrics.naming import METRICS, parse_metric
from lowbitc.targets.container import container_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from lowbitc.comparing import ComparedLayer, Comparison
    from lowbitc.compiler.diagnostics import Source
    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.compiler.ir.node import Node
    from lowbitc.level_shapes import LevelShape
    from lowbitc.simulation import Simulation
    from lowbitc.targets.cost import LayerCost
    from lowbitc.targets.program.program import Program
    from lowbitc.training.records import EpochRecord
    from lowbitc.verdict import Measured as Figure
    from lowbitc.verdict import Verdict

SHOWN = (*q.COUNTED, q.QConcat, q.Quantize)
"""Integer nodes that are layers to a reader; the others only move levels."""
_CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class MetricView:
    """A figure of the whole network, with what there is to hold it against.

    ``share`` says that it is a share of samples; ``low`` and ``high`` bound it.
    """

    name: str
    value: float
    share: bool
    low: float | None = None
    high: float | None = None
    reference: float | None = None
    bound: float | None = None
    confidence: float = _CONFIDENCE


@dataclass(frozen=True, slots=True)
class VerdictView:
    """What was decided: ``state`` is good, bad, open or none."""

    state: str
    headline: str
    sentences: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LayerView:
    """A layer of the program, and what was measured of it."""

    number: int
    name: str
    op: str
    sources: tuple[Source, ...]
    value: str
    weight_bits: int
    output: str
    processors: int
    cost: LayerCost | None
    compared: ComparedLayer | None
    outputs: LevelShape | None
    weights: LevelShape | None

    @property
    def key(self) -> str:
        """Its name in the page's addresses."""
        return f"layer-{self.number}"


@dataclass(frozen=True, slots=True)
class Content:
    """All of a page; what was not measured is None or empty, and is not shown."""

    command: str
    title: str
    program: Program
    size_bytes: int
    verdict: VerdictView
    metrics: tuple[MetricView, ...]
    samples: int
    layers: tuple[LayerView, ...]
    simulation: Simulation | None
    comparison: Comparison | None
    training: tuple[EpochRecord, ...]

    @property
    def first(self) -> LayerView | None:
        """The layer to look at first: to blame for most, or else the costliest."""
        ranks = {x.number: x.compared.rank for x in self.layers if x.compared is not None}
        if ranks:
            return min(self.layers, key=lambda x: ranks.get(x.number, len(self.layers) + 1))
        return max(self.layers, key=lambda x: x.cost.cycles if x.cost else 0.0, default=None)


def _shapes() -> dict[str, LevelShape]:
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What commands hand over; shapes are by the name of a layer."""

    command: str
    title: str = ""
    verdict: VerdictView = field(default_factory=lambda: VerdictView("none", ""))
    metrics: tuple[MetricView, ...] = ()
    samples: int = 0
    simulation: Simulation | None = None
    comparison: Comparison | None = None
    outputs: Mapping[str, LevelShape] = field(default_factory=_shapes)
    weights: Mapping[str, LevelShape] = field(default_factory=_shapes)
    training: tuple[EpochRecord, ...] = ()


def gather(program: Program, measured: Measured) -> Content:
    """Put a program and what was measured of it together, layer by layer."""
    return Content(
        command=measured.command,
        title=measured.title or program.name,
        program=program,
        size_bytes=len(container_bytes(program.container)),
        verdict=measured.verdict,
        metrics=measured.metrics,
        samples=measured.samples,
        layers=tuple(_layers(program, measured)),
        simulation=measured.simulation,
        comparison=measured.comparison,
        training=measured.training,
    )


def _layers(program: Program, measured: Measured) -> Iterator[LayerView]:
    simulation, comparison = measured.simulation, measured.comparison
    costs = {x.name: x for x in simulation.layers} if simulation else {}
    compared = {x.name: x for x in comparison.layers} if comparison else {}
    placed = program.placement.of_layer()
    number = 0
    for launch in program.launches:
        for node in launch.graph.nodes:
            if not isinstance(node, SHOWN):
                continue
            number += 1
            name = node.inputs[0] if isinstance(node, q.Quantize) else node.name
            found = compared.get(name)
            yield LayerView(
                number=number,
                name=name,
                op=node.op,
                sources=node.sources,
                value=node.outputs[0],
                weight_bits=_weight_bits(node, launch.graph),
                output=launch.graph.tensor(node.outputs[0]).element.name,
                processors=len(placed.get(node.name, ())),
                cost=costs.get(node.name),
                compared=found,
                outputs=found.errors.outputs if found else measured.outputs.get(node.name),
                weights=found.errors.weights if found else measured.weights.get(node.name),
            )


def _weight_bits(node: Node, graph: Graph) -> int:
    if not isinstance(node, q.WEIGHTED):
        return 0
    held = graph.tensor(node.inputs[1]).levels
    return held.bits if held is not None else 0


def metric_views(simulation: Simulation) -> tuple[MetricView, ...]:
    """Return a simulation's figures, shares of samples with Wilson's interval."""
    return tuple(
        _metric(name, value, simulation.samples) for name, value in simulation.metrics.items()
    )


def gate_views(verdict: Verdict) -> tuple[MetricView, ...]:
    """Return a gate's figures with float's, and the bound of each that is a plain number."""
    bounds = {c.metric: c.bound for c in verdict.checks if c.kind in {"minimum", "maximum"}}
    return measured_views(verdict.metrics, verdict.confidence, bounds)


_NO_BOUNDS: Mapping[str, float] = {}


def measured_views(
    metrics: Sequence[Figure],
    confidence: float = _CONFIDENCE,
    bounds: Mapping[str, float] = _NO_BOUNDS,
) -> tuple[MetricView, ...]:
    """Return figures of a program beside float's on the same samples."""
    return tuple(
        MetricView(
            m.name,
            m.value,
            share=_is_share(m.name),
            low=m.interval.low if math.isfinite(m.interval.low) else None,
            high=m.interval.high if math.isfinite(m.interval.high) else None,
            reference=m.float_value,
            bound=bounds.get(m.name),
            confidence=confidence,
        )
        for m in metrics
    )


def _is_share(name: str) -> bool:
    plain = name.partition(",")[0]
    return plain in METRICS and parse_metric(plain).traits.share


def _metric(name: str, value: float, samples: int) -> MetricView:
    if not _is_share(name) or not samples:
        return MetricView(name, value, share=False)
    found = wilson(value * samples, samples, _CONFIDENCE)
    return MetricView(name, value, share=True, low=found.low, high=found.high)
