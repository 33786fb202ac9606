"""The chip's part of a rounded network in real values, with gains, biases and clips to be moved.

Forward it computes what the chip computes, but for ties and what float32 rounds; backward it has
the gradients of gains, biases and clips, with rounding passed straight through. Weights keep their
levels.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from lowbitc.compiler.elements import F32
from lowbitc.compiler.execute import FloatSession
from lowbitc.compiler.export.levels import float_constants
from lowbitc.compiler.ir import ops
from lowbitc.compiler.ir.graph import Graph, Stage, reads
from lowbitc.compiler.ir.groups import CLIPS, WEIGHTED
from lowbitc.compiler.ir.types import TensorType
from lowbitc.passes.back_propagate import Backward, is_differentiable
from lowbitc.passes.chains import channels_of, clip_bounds
from lowbitc.passes.fuse_output_stage import THRESHOLD_BITS
from lowbitc.passes.plan_levels import leaves_as_sums
from lowbitc.passes.replay import Step, list_steps

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lowbitc.compiler.elements import Array, Float32, Float64
    from lowbitc.compiler.ir.node import Node


@dataclass(slots=True)
class Affine:
    """Gain and bias of a weighted layer, by channel; ``steps`` are its weights' scales."""

    gain: Float64
    bias: Float64
    steps: Float64


@dataclass(slots=True)
class Trace:
    """What the way forward leaves for the way back.

    ``values`` are real values behind their clips, ``sums`` what a weighted layer sums before gain
    and bias, ``real`` what a value is before it is rounded.
    """

    values: dict[str, Array] = field(default_factory=dict[str, "Array"])
    sums: dict[str, Float32] = field(default_factory=dict[str, "Float32"])
    real: dict[str, Float32] = field(default_factory=dict[str, "Float32"])


@dataclass(slots=True)
class Slopes:
    """Gradients of a loss: of gains and biases by layer, of clips' scales by value."""

    gain: dict[str, Float64] = field(default_factory=dict[str, "Float64"])
    bias: dict[str, Float64] = field(default_factory=dict[str, "Float64"])
    scale: dict[str, float] = field(default_factory=dict[str, float])


def can_stage(graph: Graph) -> bool:
    """Whether everything on the chip has gradients, and is fed by the graph's inputs alone."""
    steps = [step for step in list_steps(graph) if not step.on_host]
    known = {*graph.inputs, *graph.constants, *(v for step in steps for v in step.outputs)}
    return bool(steps) and all(_is_graded(step) and known.issuperset(step.inputs) for step in steps)


def _is_graded(step: Step) -> bool:
    chain, node = step.chain, step.nodes[0]
    if chain is None:
        return is_differentiable(node) and not isinstance(node, CLIPS)
    plain = chain.activation is None or isinstance(chain.activation, CLIPS)
    return plain and chain.shift is None and is_differentiable(node)


class StagedNetwork:
    """Runs a rounded graph's chip part forward and backward."""

    def __init__(self, graph: Graph) -> None:
        """Take levels, scales, biases and clips from a graph in stage CALIBRATED."""
        self.steps = tuple(step for step in list_steps(graph) if not step.on_host)
        weights = float_constants(graph, graph.constants)
        types = {
            v: TensorType(t.dims, F32) if v in weights and isinstance(t, TensorType) else t
            for v, t in graph.types.items()
        }
        self.graph = graph.replace(constants=weights, types=types)
        self.scales = {value: clip.scale for value, clip in graph.clips.items()}
        self.elements = {value: clip.element for value, clip in graph.clips.items()}
        self.affine: dict[str, Affine] = {}
        for step in self.steps:
            node = step.nodes[0]
            if isinstance(node, WEIGHTED):
                channels = channels_of(graph, node)
                bias = np.zeros(channels)
                for name in node.inputs[2:]:
                    bias = np.asarray(weights[name], np.float64).reshape(-1)
                steps = np.asarray(graph.tensor(node.inputs[1]).scale, np.float64)
                self.affine[node.name] = Affine(np.ones(channels), bias, np.abs(steps))
        self.bounds = {
            step.nodes[0].name: clip_bounds(
                graph, step.chain.activation, channels_of(graph, step.nodes[0])
            )
            for step in self.steps
            if step.chain is not None
        }
        self.leaving = {
            step.chain.output
            for step in self.steps
            if step.chain is not None and leaves_as_sums(graph, step.chain)
        }
        self._backward = Backward(self.graph)
        self._sessions = {step.nodes[0].name: self._load(step.nodes[0]) for step in self.steps}

    def _load(self, node: Node) -> FloatSession:
        """Load a node alone, without its bias."""
        if isinstance(node, WEIGHTED):
            node = dataclasses.replace(node, inputs=node.inputs[:2])
        held = (*reads(node), *node.outputs)
        small = Graph(
            name=node.name,
            inputs=tuple(dict.fromkeys(v for v in reads(node) if v not in self.graph.constants)),
            outputs=node.outputs,
            nodes=(node,),
            types={v: self.graph.types[v] for v in held},
            constants={v: self.graph.constants[v] for v in held if v in self.graph.constants},
            opset=max(self.graph.opset, 13),
            stage=Stage.FOLDED,
        )
        return FloatSession(small, threads=1)

    def forward(self, feeds: Mapping[str, Array]) -> Trace:
        """Run samples joined along axis 0."""
        trace = Trace()
        for step in self.steps:
            node, chain = step.nodes[0], step.chain
            for value in step.inputs:
                if value in self.graph.inputs and value not in trace.values:
                    x = np.asarray(feeds[value], np.float32)
                    trace.real[value] = x
                    trace.values[value] = self._rounded(value, x)
            session = self._sessions[node.name]
            found = session.arrays({v: trace.values[v] for v in session.graph.inputs})
            made = np.asarray(found[node.outputs[0]], np.float32)
            if chain is None:
                trace.values[step.outputs[0]] = made
                continue
            if node.name in self.affine:
                trace.sums[node.name] = made
                gain, bias = self.affine[node.name].gain, self._bias(node, chain.output)
                made = made * _along(gain, node, made) + _along(bias, node, made)
            low, high = (_along(bound, node, made) for bound in self.bounds[node.name])
            made = np.minimum(np.maximum(made, low), high)
            trace.real[chain.output] = made
            leaves = chain.output in self.leaving
            trace.values[chain.output] = made if leaves else self._rounded(chain.output, made)
        return trace

    def _bias(self, node: Node, output: str) -> Float64:
        """Return a layer's bias as the chip has it: in whole units of the sum, or in thresholds."""
        held = self.affine[node.name]
        if output not in self.leaving and self.elements[output].bits <= THRESHOLD_BITS:
            return held.bias
        unit = held.steps * held.gain * self.scales[node.inputs[0]]
        return np.asarray(np.rint(held.bias / unit) * unit, np.float64)

    def _rounded(self, value: str, x: Float32) -> Float32:
        scale, element = np.float32(self.scales[value]), self.elements[value]
        levels: Float32 = np.floor(x / scale + np.float32(0.5))
        np.clip(levels, element.minimum, element.maximum, out=levels)
        levels *= scale
        return levels

    def backward(self, trace: Trace, seeds: Mapping[str, Float32]) -> Slopes:
        """Return the gradients, given those of values that leave the chip."""
        slopes = Slopes()
        known = dict(seeds)
        for step in reversed(self.steps):
            node, chain, output = step.nodes[0], step.chain, step.outputs[0]
            gradient = known.pop(output, None)
            if gradient is None:
                continue
            if chain is not None:
                gradient = self._through(node, output, gradient, trace, slopes)
            for value, part in self._backward.pull(node, gradient, trace.values) or []:
                if value in self.graph.inputs:
                    continue
                known[value] = known[value] + part if value in known else part
        return slopes

    def _through(
        self, node: Node, output: str, gradient: Float32, trace: Trace, slopes: Slopes
    ) -> Float32:
        """Take a gradient back through rounding, clip, bias and gain."""
        real = trace.real.pop(output)
        if output not in self.leaving:
            scale, element = self.scales[output], self.elements[output]
            levels = np.asarray(trace.values[output], np.float32)
            inside = (real >= element.minimum * scale) & (real <= element.maximum * scale)
            # Behind the clip dv/ds is the bound, before it the rounding error (LSQ, PACT+).
            error = levels - np.where(inside, real, np.float32(0))
            slopes.scale[output] = float((gradient * error).sum(dtype=np.float64)) / scale
            gradient = np.where(inside, gradient, np.float32(0))
        low, high = (_along(bound, node, real) for bound in self.bounds[node.name])
        if np.isfinite(low).any() or np.isfinite(high).any():
            gradient = np.where((real > low) & (real < high), gradient, np.float32(0))
        if node.name in self.affine:
            sums = trace.sums.pop(node.name)
            slopes.bias[node.name] = _by_channel(gradient, node)
            slopes.gain[node.name] = _by_channel(gradient * sums, node)
            gradient = gradient * _along(self.affine[node.name].gain, node, gradient)
        return gradient


def _along(values: Float64, node: Node, y: Float32) -> Float32:
    """Return values of channels so that they broadcast over an output."""
    narrow = values.astype(np.float32)
    if isinstance(node, ops.Dense):
        return narrow
    return narrow.reshape(-1, *(1,) * (y.ndim - 2))


def _by_channel(array: Float32, node: Node) -> Float64:
    axis = array.ndim - 1 if isinstance(node, ops.Dense) else 1
    others = tuple(a for a in range(array.ndim) if a != axis)
    return np.asarray(array.sum(axis=others, dtype=np.float64))
