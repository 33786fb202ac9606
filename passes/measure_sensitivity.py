"""Measure what each width of each layer costs at the network's output, one at a time.

The float network runs on calibration samples; in turn, the weights of one layer are rounded with
error feedback, or its output is put on few levels, and the rest of the network runs on from there.
Losses of single changes add up well while they are small; whoever combines them verifies the sum.
"""

from __future__ import annotations

import dataclasses
import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lowbitc.compiler.bits import Bits
from lowbitc.compiler.elements import F32
from lowbitc.compiler.execute import FloatSession
from lowbitc.compiler.ir.graph import reads
from lowbitc.compiler.ir.groups import CLIPS, WEIGHTED
from lowbitc.compiler.ir.types import TensorType
from lowbitc.compiler.numerics import spec
from lowbitc.compiler.statistics.expected_error import tails
from lowbitc.compiler.statistics.fit_layer import FitOptions, LayerRows, fit_layer
from lowbitc.compiler.statistics.histogram import HistogramAccumulator
from lowbitc.compiler.statistics.output_change import Change, compare
from lowbitc.passes.bin_weights import channel_rows
from lowbitc.passes.calibrate_pact import choose_clip
from lowbitc.passes.collect_rows import collect_rows
from lowbitc.passes.name_outputs import output_kind
from lowbitc.passes.plan_levels import Group, plan_levels
from lowbitc.passes.replay import LOSSES, Replay, Step
from lowbitc.passes.round_weights import alphabets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from lowbitc.compiler.elements import Array
    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.compiler.ir.node import Node
    from lowbitc.compiler.ir.types import Clip
    from lowbitc.compiler.onnx_session import Value
    from lowbitc.compiler.statistics.histogram import Histogram
    from lowbitc.passes.calibrate_pact import Samples
    from lowbitc.passes.chains import Chain

WEIGHT_WIDTHS = (4, 2, 1)
ACTIVATION_WIDTHS = (4, 2)
_FULL = 8
_ROUNDING = FitOptions(clip_rounds=0)
"""One pass of error feedback: it ranks the layers, and the whole recipe takes far longer."""


class Part(enum.Enum):
    """Which bits of a layer change."""

    WEIGHTS = "weights"
    ACTIVATIONS = "activations"


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """What a width of a layer's weights, or of the levels it puts out, costs on its own.

    ``divergence`` and ``drop`` are those of the network's outputs from float; ``zeros`` is how
    much larger the share of zeros among the layer's output levels is than at 8 bits.
    """

    layer: str
    part: Part
    width: int
    divergence: float
    drop: float
    zeros: float = 0.0


def measure_sensitivity(
    graph: Graph, samples: Samples, method: str, advance: Callable[[int, int], None]
) -> tuple[Sensitivity, ...]:
    """Measure every layer of a graph that is calibrated at 8 bits, with its weights still float.

    Layers before or behind which a value cannot be kept are left out. ``method`` chooses clips.
    ``advance`` is told of steps done, and of how many.
    """
    run = _Run(graph, samples, method)
    try:
        return tuple(run.all(advance))
    finally:
        run.replay.close()


class _Run:
    """The float network's values at one step after the other, and its outputs."""

    def __init__(self, graph: Graph, samples: Samples, method: str) -> None:
        self.graph = graph
        self.method = method
        # A float product is cut by its threads, and so rounded by them: one, always.
        self.replay = Replay(graph, samples, threads=1)
        self.narrow = {width: _groups(graph, width) for width in (_FULL, *ACTIVATION_WIDTHS)}
        self.wanted = self.run_outputs()

    def all(self, advance: Callable[[int, int], None]) -> Iterator[Sensitivity]:
        steps = self.replay.steps
        for index, step in enumerate(steps):
            if self.replay.can_run(step):
                yield from self.step(index, step)
            else:
                self.replay.lose(step)
            self.replay.forget(index)
            advance(index + 1, len(steps))

    def run_outputs(self) -> dict[str, Array]:
        """Run the whole float network; outputs that are no tensors are left out."""
        session = FloatSession(self.graph, threads=1, fast=True)
        parts: list[dict[str, Array]] = []
        for start, stop in self.replay.batches(self.graph.types):
            feeds = {v: self.replay.read_float(v, start, stop) for v in self.graph.inputs}
            found = session.run(feeds)
            parts.append({v: y for v, y in found.items() if isinstance(y, np.ndarray)})
        held = set(self.graph.outputs).intersection(*(part.keys() for part in parts))
        return {
            value: np.concatenate([part[value] for part in parts])
            for value in self.graph.outputs
            if value in held
        }

    def step(self, index: int, step: Step) -> Iterator[Sensitivity]:
        chain = step.chain
        try:
            if chain is not None and isinstance(chain.compute, WEIGHTED):
                rows = collect_rows(self.replay, step, chain, residuals=False)
                rest = _Rest(self, index, chain.output)
                yield from self.weights(step, chain, rows, rest)
            else:
                for _ in self.replay.run_float(step):
                    pass
                if step.outputs[0] not in self.narrow[_FULL]:
                    return
                rest = _Rest(self, index, step.outputs[0])
            if chain is not None or isinstance(step.nodes[0], CLIPS):
                yield from self.activations(step.nodes[0], rest)
        except LOSSES:
            if not step.on_host:
                raise
            self.replay.lose(step)

    def weights(
        self, step: Step, chain: Chain, rows: LayerRows, rest: _Rest
    ) -> Iterator[Sensitivity]:
        """Round a layer's weights at each width, from what the layer reads in float."""
        compute = chain.compute
        flat, restore = channel_rows(compute, self.graph.constants[compute.inputs[1]])
        groups, scale = rows.x.shape[1], self.graph.clips[compute.inputs[0]].scale
        wanted = flat.reshape(groups, -1, flat.shape[1]) * scale
        for width in WEIGHT_WIDTHS:
            bias = np.zeros(wanted.shape[:2])
            fitted = fit_layer(rows, wanted, bias, alphabets(width), _ROUNDING)
            levels = restore(fitted.levels.reshape(flat.shape))
            scales = tuple(float(s) for s in (fitted.scales / scale).reshape(-1))
            held = TensorType(levels.shape, fitted.levels_type, scales)
            layer = _with_weights(self.graph, step, levels, held, fitted.bias.reshape(-1))
            change = rest.run(self.rerun(layer))
            yield Sensitivity(compute.name, Part.WEIGHTS, width, change.divergence, change.drop)

    def rerun(self, layer: Graph) -> Callable[[int, int], Array]:
        """Return what a changed layer makes of a range of samples."""
        session = FloatSession(layer, threads=1)

        def made(start: int, stop: int) -> Array:
            feeds = {v: self.replay.read_float(v, start, stop) for v in layer.inputs}
            return session.arrays(feeds)[layer.outputs[0]]

        return made

    def activations(self, compute: Node, rest: _Rest) -> Iterator[Sensitivity]:
        """Put a layer's output on fewer levels, at the clip that suits them."""
        value = rest.value
        if value not in self.narrow[ACTIVATION_WIDTHS[0]]:
            return
        builder = HistogramAccumulator()
        for start, stop in self.replay.batches((value,)):
            builder.add(np.asarray(self.replay.read_float(value, start, stop), np.float32))
        histogram = builder.result()
        full = choose_clip(self.narrow[_FULL][value], histogram, self.method)
        for width in ACTIVATION_WIDTHS:
            clip = choose_clip(self.narrow[width][value], histogram, self.method)
            change = rest.run(self.coarse(value, clip))
            zeros = _zero_share(histogram, clip) - _zero_share(histogram, full)
            yield Sensitivity(
                compute.name, Part.ACTIVATIONS, width, change.divergence, change.drop, zeros
            )

    def coarse(self, value: str, clip: Clip) -> Callable[[int, int], Array]:
        """Return a value on the levels of a clip, for a range of samples."""

        def made(start: int, stop: int) -> Array:
            x = np.asarray(self.replay.read_float(value, start, stop), np.float32)
            return spec.dequantize(spec.quantize(x, clip.scale, clip.element), (clip.scale,))

        return made


class _Rest:
    """The network behind one value, ready to run on changed values."""

    def __init__(self, run: _Run, index: int, value: str) -> None:
        self.value = value
        self.replay = run.replay
        nodes = tuple(n for step in run.replay.steps[index + 1 :] for n in step.nodes)
        made = {v for node in nodes for v in node.outputs}
        self.wanted = {v: y for v, y in run.wanted.items() if v in made or v == value}
        self.kinds = {v: output_kind(run.graph, v) for v in self.wanted}
        read = dict.fromkeys(v for node in nodes for v in reads(node) if v not in made)
        behind = run.graph.replace(
            nodes=nodes,
            inputs=tuple(v for v in read if v not in run.graph.constants),
            outputs=tuple(v for v in self.wanted if v in made),
        ).pruned()
        needed = {v for node in behind.nodes for v in reads(node)}
        self.inputs = tuple(v for v in behind.inputs if v in needed and v != value)
        graph = behind.replace(inputs=tuple(v for v in behind.inputs if v in needed))
        self.session = FloatSession(graph, threads=1, fast=True) if graph.nodes else None

    def run(self, made: Callable[[int, int], Array]) -> Change:
        """Return how far the outputs move when the value is what ``made`` gives."""
        total = Change()
        for start, stop in self.replay.batches((*self.inputs, self.value)):
            changed = made(start, stop)
            found: dict[str, Value] = {self.value: changed}
            if self.session is not None:
                feeds = {v: self.replay.read_float(v, start, stop) for v in self.inputs}
                if self.value in self.session.graph.inputs:
                    feeds[self.value] = changed
                found.update(self.session.run(feeds))
            total += self.compare(found, start, stop)
        return total

    def compare(self, found: Mapping[str, Value], start: int, stop: int) -> Change:
        """Return how far the outputs of a range of samples have moved, all outputs together."""
        total = Change()
        for value, whole in self.wanted.items():
            rows = len(whole) // self.replay.frames
            wanted, seen = whole[start * rows : stop * rows], found[value]
            if isinstance(seen, np.ndarray) and seen.shape == wanted.shape:
                part = compare(self.kinds[value], wanted, seen, stop - start)
                total = dataclasses.replace(total + part, samples=stop - start)
        return total


def _groups(graph: Graph, width: int) -> dict[str, Group]:
    """Return the groups of the values whose levels have ``width`` bits where it is asked for."""
    full = plan_levels(graph, Bits())
    wide = {value: group.element for group in full for value in group.values}
    planned = full if width == _FULL else plan_levels(graph, Bits(activations=width))
    narrow = {
        v for g in plan_levels(graph, Bits(activations=1)) for v in g.values if g.element != wide[v]
    }
    return {v: group for group in planned for v in group.values if v in narrow}


def _with_weights(graph: Graph, step: Step, levels: Array, held: TensorType, bias: Array) -> Graph:
    """Return the layer alone, with other weights and another bias."""
    compute = step.nodes[0]
    names = f"{compute.name}.rounded", f"{compute.name}.shifted"
    node = dataclasses.replace(compute, inputs=(compute.inputs[0], *names))
    constants = {**graph.constants, names[0]: levels, names[1]: np.asarray(bias, np.float32)}
    types = {**graph.types, names[0]: held, names[1]: TensorType(bias.shape, F32)}
    return graph.replace(
        nodes=(node, *step.nodes[1:]),
        inputs=compute.inputs[:1],
        outputs=step.outputs,
        constants=constants,
        types=types,
    ).pruned()


def _zero_share(histogram: Histogram, clip: Clip) -> float:
    """Return the share of values that become level 0."""
    beyond = sum(
        float(tails(side, clip.scale / 2)[0].sum())
        for side in (histogram.positive(), histogram.negative())
    )
    return 1.0 - beyond / max(histogram.count, 1)
