"""The cost model: cycles, energy and frame rate of a program, from counted events.

A model, not a measurement: energy = static power · time + Σ events · marginal energy, throughput
from the busiest NP of a pass, latency from the sum over layers. Every constant is a figure of
the target's TOML file, with its source.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from lowbitc.compiler.ir.quantized import QConv
from lowbitc.targets.engines.events import Counts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lowbitc.compiler.diagnostics import Source
    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.compiler.ir.node import Node
    from lowbitc.targets.container import Json
    from lowbitc.targets.engines.events import ProcessorCount
    from lowbitc.targets.placement.model import NeuralProcessor, Range
    from lowbitc.targets.program.program import Program
    from lowbitc.targets.spec import Target

_BYTE = 8
_FULL = 8
"""Bits of a weight that the figures of synaptic operations are for."""


@dataclass(frozen=True, slots=True)
class Cost:
    """A frame's cost by the model.

    ``cycles_per_frame`` is the latency of one frame alone; ``frames_per_second`` the throughput
    of a stream of frames. ``energy_per_frame_j`` = static + dynamic.
    """

    cycles_per_frame: float
    energy_per_frame_j: float
    static_energy_j: float
    dynamic_energy_j: float
    frames_per_second: float


@dataclass(frozen=True, slots=True)
class ProcessorCost:
    """What one NP does in a frame: docs/engines.md says what each count means."""

    index: int
    x: int
    y: int
    events_in: float
    events_out: float
    synaptic_ops: float
    sram_read_bytes: float
    sram_write_bytes: float
    hops: float
    cycles: float


@dataclass(frozen=True, slots=True)
class LayerCost:
    """A layer's events, operations, memory traffic and cycles a frame.

    ``bits`` are those of its weights, or without weights of its output. ``cycles`` are those of
    its slowest NP; the other counts are sums over ``by_processor``, but ``events``, which counts
    an event once however many NPs read it.
    """

    name: str
    op: str
    sources: tuple[Source, ...]
    events: float
    events_out: float
    synaptic_ops: float
    sram_read_bytes: float
    sram_write_bytes: float
    hops: float
    cycles: float
    energy_j: float
    bits: int
    processors: int
    sparsity: float
    by_processor: tuple[ProcessorCost, ...]

    def as_json(self) -> dict[str, Json]:
        """Return plain dictionaries, lists, numbers and texts."""
        held = asdict(self)
        held["sources"] = [asdict(source) for source in self.sources]
        held["by_processor"] = [asdict(processor) for processor in self.by_processor]
        return held


def estimate_cost(
    program: Program, target: Target, counts: Counts
) -> tuple[Cost, tuple[LayerCost, ...]]:
    """Estimate a frame's cost from the events of ``counts``, averaged over its samples."""
    processors = program.placement.of_layer()
    frames = max(counts.samples, 1)
    layers = tuple(
        _layer(
            node,
            launch.graph,
            target,
            _repeated(node, counts, processors, target),
            processors[node.name],
            frames,
        )
        for launch in program.launches
        for node in launch.graph.nodes
        if node.name in processors
    )
    clock = target.figure("clock")
    by_name = {layer.name: layer.cycles for layer in layers}
    latency = sum(by_name.values())
    interval = _interval(program, target, layers)
    external = _external_bytes(program)
    latency += external / target.figure("external_bytes_per_cycle")
    dynamic = sum(layer.energy_j for layer in layers)
    dynamic += external * target.figure("external_energy")
    static = target.figure("static_power") * interval / clock
    cost = Cost(
        cycles_per_frame=latency,
        energy_per_frame_j=static + dynamic,
        static_energy_j=static,
        dynamic_energy_j=dynamic,
        frames_per_second=clock / interval if interval else 0.0,
    )
    return cost, layers


def _layer(
    node: Node,
    graph: Graph,
    target: Target,
    counts: Counts,
    placed: tuple[NeuralProcessor, ...],
    frames: int,
) -> LayerCost:
    count = counts.of(node.name)
    operations = count.synaptic_ops / frames
    output = graph.tensor(node.outputs[0])
    width = output.levels.bits if output.levels else _FULL
    weights = graph.tensor(node.inputs[1]).levels if len(node.inputs) > 1 else None
    bits = (
        weights.bits if weights is not None and node.op.startswith(("QConv", "QDense")) else width
    )
    made = math.prod(output.dims)
    rate = target.figure("synaptic_ops_per_cycle") * _FULL / bits
    processors = tuple(
        _processor(p, target, count.of(p.index), frames, rate, width) for p in placed
    )
    energy = (
        operations * target.figure("synaptic_op_energy") * bits / _FULL
        + sum(p.events_in for p in processors) * target.figure("event_energy")
        + count.hops / frames * target.figure("hop_energy")
        + made * target.figure("output_energy")
    )
    return LayerCost(
        name=node.name,
        op=node.op,
        sources=node.sources,
        events=count.events / frames,
        events_out=count.events_out / frames,
        synaptic_ops=operations,
        sram_read_bytes=count.sram_read_bits / _BYTE / frames,
        sram_write_bytes=count.sram_write_bits / _BYTE / frames,
        hops=count.hops / frames,
        cycles=max(p.cycles for p in processors),
        energy_j=energy,
        bits=bits,
        processors=len(placed),
        sparsity=count.sparsity,
        by_processor=processors,
    )


def _processor(
    placed: NeuralProcessor,
    target: Target,
    count: ProcessorCount,
    frames: int,
    rate: float,
    width: int,
) -> ProcessorCost:
    """Return an NP's work a frame; ``rate`` is in operations a cycle, ``width`` in bits a level."""
    operations, events = count.synaptic_ops / frames, count.events_in / frames
    sent = count.events_out / frames * width / _BYTE
    return ProcessorCost(
        index=placed.index,
        x=placed.x,
        y=placed.y,
        events_in=events,
        events_out=count.events_out / frames,
        synaptic_ops=operations,
        sram_read_bytes=count.sram_read_bits / _BYTE / frames,
        sram_write_bytes=count.sram_write_bits / _BYTE / frames,
        hops=count.hops / frames,
        cycles=max(
            operations / rate,
            events / target.figure("events_per_cycle"),
            sent / target.figure("link_bytes_per_cycle"),
        ),
    )


def _repeated(
    node: Node, counts: Counts, processors: Mapping[str, Sequence[NeuralProcessor]], target: Target
) -> Counts:
    """Return the counts with a depthwise half done by every NP of its tile, where a mesh does so.

    There the NPs of a separable layer each hold all depthwise weights, and make for themselves
    what the pointwise half reads.
    """
    held = processors[node.name]
    beside = {(p.x, p.y) for p in held}
    sharing = isinstance(node, QConv) and node.groups > 1 and target.mesh.fused
    if not sharing or len(beside) == 1:
        return counts
    made = counts.of(node.name)
    tiles: dict[Range, list[NeuralProcessor]] = {}
    for processor in held:
        tiles.setdefault(processor.columns, []).append(processor)
    again = dataclasses.replace(made, processors={})
    for inside in tiles.values():
        parts = [made.of(p.index) for p in inside]
        for processor, own in zip(inside, parts, strict=True):
            again.processors[processor.index] = dataclasses.replace(
                own,
                events_in=sum(part.events_in for part in parts),
                synaptic_ops=sum(part.synaptic_ops for part in parts),
            )
    return Counts(counts.samples, {node.name: again})


def _interval(program: Program, target: Target, layers: Sequence[LayerCost]) -> float:
    """Return the cycles between frames: the busiest NP of each pass, and what is loaded."""
    cycles = {p.index: p.cycles for layer in layers for p in layer.by_processor}
    total = 0.0
    for step in program.placement.passes:
        busy: dict[tuple[int, int], float] = {}
        for processor in program.placement.processors[slice(*step.processors)]:
            place = (processor.x, processor.y)
            busy[place] = busy.get(place, 0.0) + cycles.get(processor.index, 0.0)
        total += max(busy.values(), default=0.0)
    loaded = program.placement.reload_bytes + program.placement.streamed_bytes
    return total + loaded / target.figure("external_bytes_per_cycle")


def _external_bytes(program: Program) -> int:
    """Return the bytes a frame that pass the border: weights, and levels of later passes."""
    spilled = sum(p.spill_bytes for p in program.placement.passes)
    return program.placement.reload_bytes + program.placement.streamed_bytes + 2 * spilled
