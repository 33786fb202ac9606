"""The chip's part of a calibrated graph as a torch module: what it computes is what the chip does.

Levels go from layer to layer, so that sums are the chip's own integers; in float64 every level is
the chip's but where a sum lies within rounding of a step (see ``write_back.settle``).
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from lowbitc.compiler.ir import ops
from lowbitc.compiler.ir.graph import reads
from lowbitc.compiler.ir.groups import CLIPS, KEEPS_LEVELS, TABLES
from lowbitc.compiler.numerics.multipliers import choose_add
from lowbitc.passes.plan_levels import leaves_as_sums, plan_levels
from lowbitc.passes.replay import list_steps
from lowbitc.training.arithmetic import Arithmetic, choose_formats, round_updates
from lowbitc.training.gradients import GradientFormat
from lowbitc.training.layer import Layer
from lowbitc.training.operators import activation_function, move_levels
from lowbitc.training.output_stage import Stage
from lowbitc.training.quantizers import ActivationQuantizer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from lowbitc.compiler.bits import Bits
    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.compiler.ir.node import Node
    from lowbitc.passes.chains import Chain
    from lowbitc.passes.replay import Step
    from lowbitc.training.arithmetic import Settings
    from lowbitc.training.distributed import Team
    from lowbitc.training.normalize import Normalization
    from lowbitc.training.quantizers import WeightMethod
    from lowbitc.training.straight_through import ClipGradient

_RANK_BITS = 20
"""Seeds of random rounding: those of layers below, of processes above."""


class QuantizedNetwork(nn.Module):
    """All layers of a calibrated graph that run on the chip.

    ``sources`` are the values that the module is fed: the graph's inputs and what the CPU makes
    for the chip. ``results`` are the values that leave the chip: outputs and what the CPU reads.
    """

    def __init__(
        self, graph: Graph, bits: Bits, weights: WeightMethod, clips: ClipGradient
    ) -> None:
        """Make the module of a graph in stage CALIBRATED with float weights."""
        super().__init__()
        self.graph = graph
        self.steps = tuple(s for s in list_steps(graph) if not s.on_host)
        self.layer_at: dict[int, Layer] = {}
        self.quantizers = nn.ModuleList()
        self.quantizer_of: dict[str, int] = {}
        for group in plan_levels(graph, bits):
            for value in group.values:
                self.quantizer_of[value] = len(self.quantizers)
            self.quantizers.append(ActivationQuantizer(graph.clips[group.values[0]], clips))
        for index, step in enumerate(self.steps):
            if step.chain is not None and not isinstance(step.chain.compute, ops.Add):
                self.layer_at[index] = Layer(graph, step.chain, bits, weights)
        self.layers = nn.ModuleList(self.layer_at.values())
        made = {v for step in self.steps for v in step.outputs}
        device = {n.name for step in self.steps for n in step.nodes}
        read = dict.fromkeys(v for s in self.steps for v in s.inputs if v not in graph.constants)
        self.sources = tuple(v for v in read if v not in made)
        host = {v for n in graph.nodes if n.name not in device for v in reads(n)}
        self.results = tuple(v for v in made if v in host or v in graph.outputs)

    def quantizer(self, value: str) -> ActivationQuantizer:
        """Return the clip of a value."""
        found = self.quantizers[self.quantizer_of[value]]
        assert isinstance(found, ActivationQuantizer)  # noqa: S101 - ModuleList forgets the type
        return found

    def mean_factor(self) -> float:
        """Return the mean over all clips of α / α₀."""
        factors = [float(self.quantizer(v).factor.detach()) for v in self.quantizer_of]
        return math.fsum(factors) / len(factors)

    def weighted_layers(self) -> tuple[Layer, ...]:
        """Return the layers that hold weights, in order."""
        return tuple(layer for layer in self.layer_at.values() if layer.weighted)

    def set_arithmetic(self, settings: Settings, team: Team) -> None:
        """Let the two backward products of each layer be computed in an arithmetic.

        Scales are those of the batch of all processes, each of which rounds at random by itself.
        """
        layers = self.weighted_layers()
        formats = choose_formats([layer.geometry for layer in layers], settings.arithmetic)
        for number, (layer, chosen) in enumerate(zip(layers, formats, strict=True)):
            own = number + (team.rank << _RANK_BITS)
            layer.gradients = GradientFormat(chosen, settings, own, team.largest)

    def normed_layers(self) -> tuple[tuple[Layer, Normalization], ...]:
        """Return the layers that batches can norm."""
        held = ((layer, layer.normalization) for layer in self.weighted_layers())
        return tuple((layer, norm) for layer, norm in held if norm is not None)

    def learn_norms(self, team: Team) -> None:
        """Let batches norm the sums of layers from ``begin_norms`` to ``fold_norms``.

        Moments are those of the batch of all processes. Both read the statistics of batches that
        were run after ``watch_norms``.
        """
        for _, norm in self.normed_layers():
            norm.gain.requires_grad_()
            norm.total = team.sum if team.size > 1 else None

    def watch_norms(self) -> None:
        """Gather statistics of what is run."""
        for _, norm in self.normed_layers():
            norm.watch()

    def begin_norms(self) -> None:
        """Norm the sums by batch from now on, without a change of what they mean on average."""
        for layer, _ in self.normed_layers():
            layer.begin_norm(self.quantizer(layer.chain.compute.inputs[0]).scale())

    def fold_norms(self) -> None:
        """Norm the sums by the statistics that were seen, in scales and biases."""
        for layer, _ in self.normed_layers():
            layer.fold_norm(self.quantizer(layer.chain.compute.inputs[0]).scale())

    def round_updates(self, settings: Settings, step: int) -> None:
        """Round the weights that an optimizer's step left as the arithmetic holds them."""
        if settings.arithmetic is Arithmetic.FP8:
            round_updates((x.weights for x in self.weighted_layers()), settings.seed, step)

    def forward(self, feeds: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the real values of ``results``, n samples joined along axis 0."""
        return self.reals(self.run_levels(feeds), self.results)

    def reals(self, levels: Mapping[str, Tensor], values: Iterable[str]) -> dict[str, Tensor]:
        """Return the real values of some of what ``run_levels`` gave."""
        return {v: levels[v] if self.leaves(v) else self.real(levels, v) for v in values}

    def leaves(self, value: str) -> bool:
        """Whether a value leaves the chip as sums, which ``run_levels`` gives as real values."""
        step = self.step_of[value]
        return step.chain is not None and leaves_as_sums(self.graph, step.chain)

    @property
    def step_of(self) -> dict[str, Step]:
        """Map what each step makes to the step."""
        return {v: step for step in self.steps for v in step.outputs}

    def real(self, levels: Mapping[str, Tensor], value: str) -> Tensor:
        """Return levels times their scale."""
        return levels[value] * self.quantizer(value).scale()

    def run_levels(self, feeds: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the levels of every value on the chip; sums that leave it as real values."""
        levels: dict[str, Tensor] = {}
        for value in self.sources:
            levels[value] = self.quantizer(value).levels(feeds[value], half_even=True)
        return self.run_steps(range(len(self.steps)), levels)

    def run_steps(self, steps: range, levels: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return ``levels``, and those of every value that some of the steps make."""
        found = dict(levels)
        for index in steps:
            step = self.steps[index]
            found[step.outputs[0]] = self.run_step(index, step, found)
        return found

    def run_step(self, index: int, step: Step, levels: Mapping[str, Tensor]) -> Tensor:
        """Return the levels that a step makes."""
        node, chain = step.nodes[0], step.chain
        if chain is None:
            return self.run_other(node, levels)
        if isinstance(node, ops.Add):
            return self.add(node, chain, levels)
        layer = self.layer_at[index]
        source = node.inputs[0]
        scale = self.quantizer(source).scale()
        if layer.sums_leave:
            return layer.real(levels[source], scale)
        if chain.table is None:
            out = self.quantizer(chain.output)
            return out.round_stage(layer.stage(levels[source], scale).over(out.scale()))
        middle = self.quantizer(node.outputs[0])
        moved = middle.zero * middle.scale()
        stage = layer.stage(levels[source], scale, moved=moved)
        stage = dataclasses.replace(stage, bias=stage.bias - moved)
        entries = middle.round_stage(stage.over(middle.scale()))
        index_value = (entries - middle.zero) * middle.scale()
        return self.quantizer(chain.output).levels(activation_function(chain.table)(index_value))

    def add(self, node: Node, chain: Chain, levels: Mapping[str, Tensor]) -> Tensor:
        """Return the levels of a residual sum, with the chip's own multipliers.

        It clamps the sum to its levels, and knows no other clip there.
        """
        out = self.quantizer(chain.output)
        ratios = [self.quantizer(v).scale() / out.scale() for v in node.inputs]
        *multipliers, shift = choose_add(*(float(r.detach()) for r in ratios))
        terms = tuple(
            (levels[value], ratio + (multiplier / 2**shift - ratio).detach())
            for value, ratio, multiplier in zip(node.inputs, ratios, multipliers, strict=True)
        )
        return out.round_stage(Stage(terms, torch.zeros_like(ratios[0])))

    def run_other(self, node: Node, levels: Mapping[str, Tensor]) -> Tensor:
        """Return the levels of a node that is no layer."""
        output = node.outputs[0]
        if isinstance(node, KEEPS_LEVELS):
            return move_levels(node, self.graph, levels[node.inputs[0]])
        if isinstance(node, ops.Concat):
            own = self.quantizer_of[output]
            parts = [
                levels[v]
                if self.quantizer_of[v] == own
                else self.quantizer(output).levels(self.real(levels, v))
                for v in node.inputs
            ]
            return torch.cat(parts, dim=node.axis)
        assert isinstance(node, (*CLIPS, *TABLES))  # noqa: S101 - the chip runs nothing else
        return self.quantizer(output).levels(
            activation_function(node)(self.real(levels, node.inputs[0]))
        )
