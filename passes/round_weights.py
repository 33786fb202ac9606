"""Round weights layer by layer toward the float network's outputs.

Each layer is fitted on the inputs that it really gets from the quantized layers before it
(mismatch target: GPTAQ, Qronos), rounded with error feedback (OBQ, GPTQ), and at few bits improved
by coordinate descent and a search of scales. No labels and no gradients: sums of products and
triangular systems. The layer in front of a residual Add also corrects what the other branch has
lost.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from lowbitc.compiler.bits import Bits
from lowbitc.compiler.elements import F32, odd, signed
from lowbitc.compiler.ir import ops
from lowbitc.compiler.execute import FloatSession
from lowbitc.compiler.ir.graph import Graph, Stage, fresh_name
from lowbitc.compiler.ir.types import TensorType
from lowbitc.compiler.manager import PassResult
from lowbitc.compiler.statistics.fit_layer import (
    Effort,
    FitOptions,
    FittedLayer,
    LayerRows,
    fit_layer,
    outputs,
)
from lowbitc.compiler.statistics.fit_stage import fit_stage
from lowbitc.passes.bin_weights import bin_rows, channel_rows
from lowbitc.passes.calibrate_pact import Samples
from lowbitc.passes.chains import WEIGHTED, Chain, channels_of, clip_bounds, first_layers
from lowbitc.passes.choose_clips import (
    CLIP_FRAMES,
    ReaderRows,
    candidates,
    find_paths,
    first_frames,
)
from lowbitc.passes.replay import LOSSES, Replay, Step
from lowbitc.passes.sample_windows import (
    choose_positions,
    gather_outputs,
    gather_windows,
    rows_a_frame,
    windows_of,
)

if TYPE_CHECKING:
    from lowbitc.compiler.elements import Array, Float64, LevelType
    from lowbitc.compiler.ir.node import Node

_FULL = 8
_FEW = 2
_FINE = FitOptions(Effort(), clip_rounds=0)
_MEDIUM = FitOptions(Effort(scales=(0.8, 0.85, 0.9, 0.95, 1.0, 1.05), rounds=1))
_COARSE = FitOptions(
    Effort(scales=(0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.35), rounds=3, sweeps=3), polish_rounds=2
)


@dataclass(frozen=True, slots=True)
class Recipe:
    """Which steps to take, by width of the weights; the defaults are those of every network."""

    fine: FitOptions = _FINE
    medium: FitOptions = _MEDIUM
    coarse: FitOptions = _COARSE
    correct_residuals: bool = True
    fit_stages: bool = True
    weigh_clips: bool = True

    def options(self, width: int) -> FitOptions:
        """Return what a layer of so many weight bits gets."""
        if width >= _FULL:
            return self.fine
        return self.coarse if width <= _FEW else self.medium


@dataclass(frozen=True, slots=True)
class RoundWeights:
    """Replace the float weights of the chip's layers by levels, and refit their biases.

    Where calibration cannot see a layer (it lies behind a value that cannot be kept), its weights
    are rounded to the nearest level. ``advance`` is told after each layer.
    """

    name: ClassVar[str] = "round-weights"
    samples: Samples
    bits: Bits = Bits()
    recipe: Recipe = field(default_factory=Recipe)
    threads: int = 0
    advance: Callable[[], None] | None = None

    def run(self, graph: Graph) -> PassResult:
        """Return the graph whose weight constants hold int8 levels."""
        run = _Run(graph, self)
        try:
            after = run.all()
        finally:
            run.replay.close()
        return PassResult(after, changed=True)


class _Run:
    """One run of the pass: the graph so far, and both networks' values."""

    def __init__(self, graph: Graph, settings: RoundWeights) -> None:
        self.settings = settings
        self.before = graph
        self.graph = graph
        self.first = first_layers(graph)
        self.replay = Replay(graph, settings.samples, settings.threads)
        self.errors: dict[str, float] = {}

    def all(self) -> Graph:
        for index, step in enumerate(self.replay.steps):
            self.step(step)
            self.replay.forget(index)
            if self.settings.advance is not None:
                self.settings.advance()
        return self.graph.pruned()

    def step(self, step: Step) -> None:
        compute = step.nodes[0]
        weighted = step.chain is not None and isinstance(compute, WEIGHTED)
        if not self.replay.can_run(step):
            self.replay.lose(step)
            if weighted:
                self.put(compute, self.nearest(compute))
            return
        if not weighted or step.chain is None:
            try:
                for _ in self.replay.run_float(step):
                    pass
                self.replay.run_seen(step, self.graph)
            except LOSSES:
                if not step.on_host:
                    raise
                self.replay.lose(step)
            return
        fitted = self.fit(step, step.chain)
        quantized = self.put(compute, fitted)
        chain = dataclasses.replace(step.chain, compute=quantized)
        self.replay.run_seen(dataclasses.replace(step, nodes=chain.nodes, chain=chain), self.graph)

    # --- fitting ---------------------------------------------------------------------------------

    def fit(self, step: Step, chain: Chain) -> FittedLayer:
        """Fit a layer; scales come back per unit of value."""
        compute = chain.compute
        rows = self.collect(step, chain)
        weights = np.asarray(self.before.constants[compute.inputs[1]], np.float32)
        width = self.settings.bits.weight_bits(compute, first=compute.name in self.first)
        flat, _ = channel_rows(compute, weights)
        groups = rows.x.shape[1]
        scale = self.graph.clips[compute.inputs[0]].scale
        fitted = fit_layer(
            rows,
            flat.reshape(groups, -1, flat.shape[1]) * scale,
            self.bias(compute).reshape(groups, -1),
            alphabets(width),
            self.settings.recipe.options(width),
        )
        self.errors[compute.name] = fitted.error
        self.choose_clip(chain, fitted, scale)
        fitted = self.stage(chain, rows, fitted)
        return dataclasses.replace(fitted, scales=fitted.scales / scale)

    def choose_clip(self, chain: Chain, fitted: FittedLayer, scale: float) -> None:
        """Choose the clip of what a layer puts out by the layers that read it."""
        clip = self.graph.clips.get(chain.output)
        if clip is None or clip.element.bits > _FEW or not self.settings.recipe.weigh_clips:
            return
        paths = find_paths(self.before, chain.output)
        if not paths:
            return
        replay, threads = self.replay, self.settings.threads
        used = min(replay.frames, CLIP_FRAMES)
        readers = [ReaderRows(self.before, chain.output, p, used, threads) for p in paths]
        session = self.real_session(chain, fitted, scale)
        for start, stop in first_frames(replay.frames):
            levels = replay.read_levels(chain.compute.inputs[0], start, stop)
            real = session.arrays({chain.compute.inputs[0]: levels.astype(np.float32)})
            floats = replay.read_float(chain.output, start, stop)
            for reader in readers:
                reader.add(real[chain.output], floats, start)
        scales = candidates(clip)
        total = np.sum([r.errors(scales, clip.element) for r in readers], axis=0)
        best = dataclasses.replace(clip, scale=scales[int(np.argmin(total))])
        clips = dict(self.graph.clips)
        moved = {chain.output, *(v for p in paths for n in p.moves for v in n.outputs)}
        clips.update(dict.fromkeys(moved, best))
        self.graph = self.graph.replace(clips=clips)
        self.replay.graph = self.replay.graph.replace(clips=clips)

    def real_session(self, chain: Chain, fitted: FittedLayer, scale: float) -> FloatSession:
        """Load the layer with its quantized weights, from levels to real values."""
        compute = chain.compute
        _, restore = channel_rows(compute, np.asarray(self.before.constants[compute.inputs[1]]))
        del scale
        real = fitted.levels * fitted.scales[:, :, np.newaxis]
        shape = np.asarray(self.before.constants[compute.inputs[1]]).shape
        del shape
        flat = real.reshape(-1, real.shape[2]).astype(np.float32)
        constants = {k: v for n in chain.nodes for k, v in self.before.constants.items() if k in n.inputs}
        names = ("weights.real", "bias.real")
        constants[names[0]] = restore(flat)
        constants[names[1]] = fitted.bias.reshape(-1).astype(np.float32)
        node = dataclasses.replace(compute, inputs=(compute.inputs[0], *names))
        nodes = (node, *chain.nodes[1:])
        held = {v for n in nodes for v in (*n.inputs, *n.outputs)}
        types = {v: t for v, t in self.before.types.items() if v in held}
        types.update({k: TensorType(v.shape, F32) for k, v in constants.items()})
        small = Graph(
            name=compute.name,
            inputs=(compute.inputs[0],),
            outputs=(chain.output,),
            nodes=nodes,
            types=types,
            constants=constants,
            opset=self.before.opset,
            stage=Stage.FOLDED,
        )
        return FloatSession(small, threads=self.settings.threads)

    def stage(self, chain: Chain, rows: LayerRows, fitted: FittedLayer) -> FittedLayer:
        """Fit the output stage of a layer of few activation bits."""
        clip = self.graph.clips.get(chain.output)
        coarse = clip is not None and clip.element.bits <= _FEW
        if not self.settings.recipe.fit_stages or not coarse or chain.shift is not None:
            return fitted
        sums = outputs(rows.x, fitted.levels * fitted.scales[:, :, np.newaxis], fitted.bias)
        channels = fitted.bias.size
        low, high = clip_bounds(self.before, chain.activation, channels)
        wanted = np.clip(rows.y.reshape(-1, channels), low.astype(np.float32), high.astype(np.float32))
        found = fit_stage(sums.reshape(-1, channels), wanted, clip.scale, clip.element)
        gain, offset = (v.reshape(fitted.bias.shape) for v in (found.gain, found.offset))
        return dataclasses.replace(
            fitted, scales=fitted.scales * gain, bias=fitted.bias * gain + offset
        )

    def collect(self, step: Step, chain: Chain) -> LayerRows:
        """Run the float layer, and gather rows of its inputs and targets."""
        compute, replay = chain.compute, self.replay
        windows = windows_of(self.before, compute)
        count = rows_a_frame(windows, replay.frames)
        source, sums = compute.inputs[0], compute.outputs[0]
        partner, after = self.partner(chain)
        xs: list[Array] = []
        ys: list[Array] = []
        others: list[Array] = []
        for start, stop, found in replay.run_float(step, (sums,)):
            levels = replay.read_levels(source, start, stop)
            chosen = choose_positions(
                windows.positions, count, start * len(levels) // (stop - start), len(levels)
            )
            xs.append(gather_windows(windows, levels, chosen))
            y = gather_outputs(windows, found[sums], chosen)
            if partner:
                own = gather_outputs(windows, replay.read_seen(partner, start, stop), chosen)
                y = y + gather_outputs(windows, replay.read_float(partner, start, stop), chosen)
                y = y - own
                others.append(own)
            ys.append(y)
        low, high = self.bounds(chain, after)
        shape = (windows.groups, windows.outputs)
        low, high = (b.reshape(shape).astype(np.float32) for b in (low, high))
        if others:
            other = np.concatenate(others)
            low, high = low - other, high - other
        return LayerRows(np.concatenate(xs), np.concatenate(ys), low, high)

    def partner(self, chain: Chain) -> tuple[str, Chain]:
        """Return the other branch of the residual Add that a layer goes into, "" if none."""
        if not self.settings.recipe.correct_residuals or len(chain.nodes) > 1:
            return "", chain
        readers = self.before.consumers()
        reader = self.before.sole_consumer(chain.output, readers)
        after = next(
            (
                s.chain
                for s in self.replay.steps
                if s.chain is not None and reader is not None and s.nodes[0].name == reader.name
            ),
            None,
        )
        if after is None or not isinstance(after.compute, ops.Add):
            return "", chain
        others = [v for v in after.compute.inputs if v != chain.output]
        same = [v for v in others if self.before.shape(v) == self.before.shape(chain.output)]
        if len(same) != 1 or same[0] not in self.replay.seen:
            return "", chain
        return same[0], after

    def bounds(self, chain: Chain, after: Chain) -> tuple[Float64, Float64]:
        """Return, by channel, where the layer's sums are clipped, by PACT's clip too."""
        channels = channels_of(self.before, chain.compute)
        if after.table is not None:
            return np.full(channels, -np.inf), np.full(channels, np.inf)
        low, high = clip_bounds(self.before, after.activation, channels)
        if after.activation is None and after.shift is None:
            return low, high
        clip = self.graph.clips[after.output]
        least, most = (clip.scale * v for v in (clip.element.minimum, clip.element.maximum))
        if after.shift is not None:
            scale, shift = (
                np.asarray(self.before.constants[v], np.float64).reshape(-1)
                for v in after.shift.inputs[1:]
            )
            return np.maximum(low, (least - shift) / scale), np.minimum(high, (most - shift) / scale)
        return np.maximum(low, least), np.minimum(high, most)

    def bias(self, compute: Node) -> Float64:
        for name in compute.inputs[2:]:
            if name:
                return np.asarray(self.before.constants[name], np.float64).reshape(-1)
        return np.zeros(channels_of(self.before, compute))

    def nearest(self, compute: Node) -> FittedLayer:
        """Round without data."""
        weights = np.asarray(self.before.constants[compute.inputs[1]], np.float32)
        width = self.settings.bits.weight_bits(compute, first=compute.name in self.first)
        flat, _ = channel_rows(compute, weights)
        fit = bin_rows(flat, width, "mse")
        return FittedLayer(fit.levels_type, fit.levels, fit.scales, self.bias(compute), 0.0)

    def put(self, compute: Node, fitted: FittedLayer) -> Node:
        """Write a layer's levels and bias into the graph; return its new node."""
        weights = np.asarray(self.before.constants[compute.inputs[1]])
        flat, restore = channel_rows(compute, weights)
        types, constants = dict(self.graph.types), dict(self.graph.constants)
        name = fresh_name(f"{compute.inputs[1]}.levels", types)
        levels = restore(fitted.levels.reshape(flat.shape))
        scales = tuple(float(s) for s in fitted.scales.reshape(-1))
        constants[name] = levels
        types[name] = TensorType(levels.shape, fitted.levels_type, scales)
        held = next((v for v in compute.inputs[2:] if v), compute.inputs[1])
        bias = fresh_name(f"{held}.refitted" if held in compute.inputs[2:] else f"{held}.bias", types)
        constants[bias] = fitted.bias.reshape(-1).astype(np.float32)
        types[bias] = TensorType(constants[bias].shape, F32)
        node = dataclasses.replace(compute, inputs=(compute.inputs[0], name, bias))
        nodes = tuple(node if n.name == node.name else n for n in self.graph.nodes)
        self.graph = self.graph.replace(nodes=nodes, types=types, constants=constants)
        return node


def alphabets(width: int) -> tuple[LevelType, ...]:
    """Return the level types that weights of a width may have."""
    if width == 1:
        return (odd(1),)
    return (odd(width), signed(width)) if width <= _FEW else (signed(width),)
