"""Round weights layer by layer toward the float network's outputs.

Each layer is fitted on the inputs that it really gets from the quantized layers before it
(mismatch target: GPTAQ, Qronos), rounded with error feedback (OBQ, GPTQ), and at few bits improved
by coordinate descent and a search of scales. The layer in front of a residual Add also corrects
what the other branch has lost. At 1 and 2 activation bits, each layer's clip is chosen by the
layers that read it, and gain and offset of its output stage are fitted to its levels. What errors
of a coarse layer's outputs do to the network's, alone and together, is measured once (YAQA). In
the end, where most layers are coarse, gains, biases and clips move together toward the float
network's scores; levels of weights stay. No labels.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from lowbitc.compiler.bits import Bits
from lowbitc.compiler.elements import odd, signed
from lowbitc.compiler.ir import ops
from lowbitc.compiler.ir.first_layers import first_layers
from lowbitc.compiler.ir.groups import CLIPS, WEIGHTED
from lowbitc.compiler.manager import LayerError, Measured, PassResult
from lowbitc.compiler.statistics.fit_layer import FittedLayer, LayerRows, fit_layer
from lowbitc.compiler.statistics.fit_stage import fit_stage
from lowbitc.compiler.statistics.level_sums import outputs
from lowbitc.passes.bin_weights import bin_rows, channel_rows
from lowbitc.passes.chains import Chain, channels_of, clip_bounds, find_chains
from lowbitc.passes.choose_clips import choose_clip, real_layer, real_sum
from lowbitc.passes.collect_rows import collect_rows
from lowbitc.passes.couple_outputs import couple_outputs
from lowbitc.passes.put_levels import RoundedLayer, put_levels
from lowbitc.passes.recipes import Recipe
from lowbitc.passes.replay import LOSSES, Replay, Step
from lowbitc.passes.tune_stages import tune_stages

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lowbitc.compiler.elements import Float64, LevelType
    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.compiler.ir.node import Node
    from lowbitc.compiler.ir.types import Clip
    from lowbitc.passes.calibrate_pact import Samples

_FEW = 2


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
        if not any(isinstance(node, WEIGHTED) for node in _float_layers(graph)):
            return PassResult(graph, changed=False)
        run = _Run(graph, self)
        try:
            after = run.all()
        finally:
            run.replay.close()
        if self.recipe.tune_stages and run.is_tuned():
            after = tune_stages(graph, after, self.bits, self.samples, self.threads)
        return PassResult(after, changed=True, errors=tuple(run.errors))


def count_steps(graph: Graph) -> int:
    """Return how often ``advance`` will be called."""
    return len(_float_layers(graph))


def alphabets(width: int) -> tuple[LevelType, ...]:
    """Return the level types that weights of a width may have."""
    if width == 1:
        return (odd(1),)
    return (odd(width), signed(width)) if width <= _FEW else (signed(width),)


def _float_layers(graph: Graph) -> tuple[Node, ...]:
    """Return the chip's weighted nodes whose weights are still float."""
    return tuple(
        node
        for node in graph.nodes
        if isinstance(node, WEIGHTED)
        and node.name not in graph.host_reasons
        and graph.tensor(node.inputs[1]).levels is None
    )


class _Run:
    """One run of the pass: the graph so far (``graph``), and both networks' values.

    The replay's own graph keeps float weights; clips are the same in both.
    """

    def __init__(self, graph: Graph, settings: RoundWeights) -> None:
        self.settings = settings
        self.before = graph
        self.graph = graph
        self.first = first_layers(graph)
        self.layers = {node.name for node in _float_layers(graph)}
        self.replay = Replay(graph, settings.samples, settings.threads)
        self.errors: list[LayerError] = []
        coupled = {node.name for node in _float_layers(graph) if self.width(node) <= _FEW}
        self.couplings: Mapping[str, Float64] = {}
        if settings.recipe.couple_outputs and coupled:
            self.couplings = couple_outputs(self.replay, coupled)

    def all(self) -> Graph:
        for index, step in enumerate(self.replay.steps):
            self.step(step)
            self.replay.forget(index)
            if self.settings.advance is not None and step.nodes[0].name in self.layers:
                self.settings.advance()
        return self.graph.pruned()

    def is_tuned(self) -> bool:
        """Whether most layers have weights or levels so coarse that fitting each falls short."""
        chains = [c for c in find_chains(self.before) if isinstance(c.activation, CLIPS)]
        clips = self.before.clips
        levels = [clips[c.output].element.bits for c in chains if c.output in clips]
        weights = [self.width(node) for node in _float_layers(self.before)]
        return any(2 * sum(w <= _FEW for w in few) > len(few) for few in (levels, weights))

    def step(self, step: Step) -> None:
        compute, chain = step.nodes[0], step.chain
        layer = chain is not None and compute.name in self.layers
        if not self.replay.can_run(step):
            self.replay.lose(step)
            if layer:
                self.put(compute, self.nearest(compute))
        elif chain is None or not layer:
            self.replay_only(step)
        else:
            fitted = self.fit(step, chain)
            bits = self.width(compute)
            self.errors.append(LayerError(compute.name, Measured.SUMS, bits, fitted.error))
            node = self.put(compute, fitted)
            after = dataclasses.replace(chain, compute=node)
            self.replay.run_seen(Step(after.nodes, after, on_host=False), self.graph)

    def replay_only(self, step: Step) -> None:
        try:
            for _ in self.replay.run_float(step):
                pass
            self.weigh_sum(step)
            self.replay.run_seen(step, self.graph)
        except LOSSES:
            if not step.on_host:
                raise
            self.replay.lose(step)

    def weigh_sum(self, step: Step) -> None:
        """Choose the clip of a residual Add's output."""
        chain = step.chain
        summed = chain is not None and isinstance(chain.compute, ops.Add)
        if chain is None or not summed or not self.is_coarse(chain):
            return
        if self.settings.recipe.weigh_clips:
            self.set_clips(choose_clip(self.replay, chain, real_sum(self.replay, chain)))

    # --- one layer -------------------------------------------------------------------------------

    def fit(self, step: Step, chain: Chain) -> FittedLayer:
        """Fit a layer, its clip and its stage; scales come back per unit of the input's value."""
        compute, recipe = chain.compute, self.settings.recipe
        rows = collect_rows(self.replay, step, chain, residuals=recipe.correct_residuals)
        width, flat = self.width(compute), self.rows(compute)
        groups, scale = rows.x.shape[1], self.graph.clips[compute.inputs[0]].scale
        fitted = fit_layer(
            rows,
            flat.reshape(groups, -1, flat.shape[1]) * scale,
            self.bias(compute).reshape(groups, -1),
            alphabets(width),
            recipe.options(width),
            self.couplings.get(compute.name),
        )
        if self.is_coarse(chain):
            if recipe.weigh_clips:
                real = real_layer(self.replay, chain, fitted)
                self.set_clips(choose_clip(self.replay, chain, real))
            if recipe.fit_stages:
                fitted = self.fit_stage(chain, rows, fitted)
        return dataclasses.replace(fitted, scales=fitted.scales / scale)

    def is_coarse(self, chain: Chain) -> bool:
        """Whether a layer puts out few levels, behind a clip."""
        clip = self.graph.clips.get(chain.output)
        few = clip is not None and clip.element.bits <= _FEW
        return few and chain.shift is None and isinstance(chain.activation, CLIPS)

    def set_clips(self, clips: dict[str, Clip]) -> None:
        self.graph = self.graph.replace(clips={**self.graph.clips, **clips})
        self.replay.graph = self.replay.graph.replace(clips=self.graph.clips)

    def fit_stage(self, chain: Chain, rows: LayerRows, fitted: FittedLayer) -> FittedLayer:
        """Put the gain and offset that fit the output's levels into scales and bias."""
        clip = self.graph.clips[chain.output]
        real = fitted.levels * fitted.scales[:, :, np.newaxis]
        channels = fitted.bias.size
        sums = outputs(rows.x, real, fitted.bias).reshape(-1, channels)
        low, high = clip_bounds(self.before, chain.activation, channels)
        wanted = np.clip(rows.y.reshape(-1, channels), low, high).astype(np.float32)
        found = fit_stage(sums, wanted, clip.scale, clip.element)
        gain, offset = (v.reshape(fitted.bias.shape) for v in (found.gain, found.offset))
        return dataclasses.replace(
            fitted, scales=fitted.scales * gain, bias=fitted.bias * gain + offset
        )

    def nearest(self, compute: Node) -> FittedLayer:
        """Round without data."""
        fit = bin_rows(self.rows(compute), self.width(compute), "mse")
        return FittedLayer(fit.levels_type, fit.levels, fit.scales, self.bias(compute), 0.0)

    # --- weights ---------------------------------------------------------------------------------

    def width(self, compute: Node) -> int:
        return self.settings.bits.weight_bits(compute, first=compute.name in self.first)

    def rows(self, compute: Node) -> Float64:
        weights = np.asarray(self.before.constants[compute.inputs[1]], np.float32)
        return channel_rows(compute, weights)[0]

    def bias(self, compute: Node) -> Float64:
        for name in compute.inputs[2:]:
            if name:
                return np.asarray(self.before.constants[name], np.float64).reshape(-1)
        return np.zeros(channels_of(self.before, compute))

    def put(self, compute: Node, fitted: FittedLayer) -> Node:
        """Write a layer's levels and bias into the graph; return its new node."""
        flat, restore = channel_rows(compute, self.before.constants[compute.inputs[1]])
        levels = restore(fitted.levels.reshape(flat.shape))
        rounded = RoundedLayer(fitted.levels_type, levels, fitted.scales, fitted.bias)
        self.graph, node = put_levels(self.graph, compute, rounded)
        return node
