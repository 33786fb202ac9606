"""The reference engine: numpy integers, one node after the other, as compiler/numerics has it.

Levels are int64 here, in the layouts of the integer operators; nothing is fused or reordered.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lowbitc.compiler.diagnostics import InternalError
from lowbitc.compiler.ir import quantized as q
from lowbitc.compiler.numerics import spec
from lowbitc.targets.engines.events import Counts, count_node

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lowbitc.compiler.elements import Array, Float32, Int64, LevelType
    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.compiler.ir.node import Node

REQUANTIZE_PARTS = 5


@dataclass(frozen=True, slots=True)
class ReferenceLaunch:
    """A launch that runs node by node."""

    graph: Graph

    def run(self, inputs: Mapping[str, Array], counts: Counts | None = None) -> dict[str, Array]:
        """Return the launch's outputs by name for n samples joined along axis 0."""
        graph = self.graph
        state = _State(graph, {v: np.asarray(inputs[v]) for v in graph.inputs})
        last = {v: i for i, node in enumerate(graph.nodes) for v in node.inputs}
        for index, node in enumerate(graph.nodes):
            if counts is not None:
                count_node(node, graph, state.values, counts)
            state.values[node.outputs[0]] = run_node(node, state)
            for value in node.inputs:
                if last[value] == index and value not in graph.outputs:
                    state.values.pop(value, None)
        return {value: _leave(state, value) for value in graph.outputs}


@dataclass(frozen=True, slots=True)
class _State:
    """Values so far: levels as int64, and floats at the borders."""

    graph: Graph
    values: dict[str, Array]

    def levels(self, value: str) -> Int64:
        """Return the levels of a value."""
        return self.values[value].astype(np.int64)

    def constant(self, value: str) -> Int64:
        """Return a constant of the program as int64."""
        return self.graph.constants[value].astype(np.int64)

    def element(self, value: str) -> LevelType:
        """Return the level type of a value."""
        found = self.graph.tensor(value).levels
        if found is None:
            message = f"{value} holds no levels"
            raise InternalError(message)
        return found

    def samples(self, value: str) -> int:
        """Return how many samples a value holds."""
        return len(self.values[value]) // self.graph.shape(value)[0]


def _leave(state: _State, value: str) -> Array:
    """Return an output as the next step reads it: levels in one byte, sums in four."""
    held = state.graph.tensor(value).levels
    return state.values[value] if held is None else state.values[value].astype(held.dtype)


@functools.singledispatch
def run_node(node: Node, state: _State) -> Array:
    """Return the output of one node."""
    del state
    message = f"no reference kernel for {node.op} {node.name}"
    raise InternalError(message)


@run_node.register(q.Quantize)
def _quantize(node: q.Quantize, state: _State) -> Int64:
    (scale,) = state.graph.tensor(node.outputs[0]).scale
    x = state.values[node.inputs[0]].astype(np.float32)
    return spec.quantize(x, scale, state.element(node.outputs[0]))


@run_node.register(q.Dequantize)
def _dequantize(node: q.Dequantize, state: _State) -> Float32:
    scale = state.graph.tensor(node.inputs[0]).scale
    return spec.dequantize(state.levels(node.inputs[0]), scale, node.axis)


@run_node.register(q.QConv)
def _conv(node: q.QConv, state: _State) -> Int64:
    x, w = state.levels(node.inputs[0]), state.constant(node.inputs[1])
    sums = spec.convolve(x, w, node.stride, node.dilation, node.pads, node.groups)
    return _output_stage(node, sums, state)


@run_node.register(q.QConvTranspose)
def _conv_transpose(node: q.QConvTranspose, state: _State) -> Int64:
    x, w = state.levels(node.inputs[0]), state.constant(node.inputs[1])
    sums = spec.convolve_transposed(
        x, w, node.stride, node.dilation, node.pads, node.output_padding, node.groups
    )
    return _output_stage(node, sums, state)


@run_node.register(q.QDense)
def _dense(node: q.QDense, state: _State) -> Int64:
    sums = spec.dense(state.levels(node.inputs[0]), state.constant(node.inputs[1]))
    return _output_stage(node, sums, state)


@run_node.register(q.QAveragePool)
def _average_pool(node: q.QAveragePool, state: _State) -> Int64:
    x = state.levels(node.inputs[0])
    return _output_stage(node, spec.window_sums(x, node.kernel, node.stride, node.pads), state)


@run_node.register(q.QMaxPool)
def _max_pool(node: q.QMaxPool, state: _State) -> Int64:
    x = state.levels(node.inputs[0])
    return spec.max_pool(x, node.kernel, node.stride, node.dilation, node.pads)


@run_node.register(q.QAdd)
def _add(node: q.QAdd, state: _State) -> Int64:
    a, b = (state.levels(v) for v in node.inputs)
    element = state.element(node.outputs[0])
    return spec.add(a, b, node.multiplier_a, node.multiplier_b, node.shift, element)


@run_node.register(q.QTable)
def _table(node: q.QTable, state: _State) -> Int64:
    x, table = node.inputs
    return spec.look_up(state.levels(x), state.constant(table), state.element(x))


@run_node.register(q.QConcat)
def _concat(node: q.QConcat, state: _State) -> Int64:
    return np.concatenate([state.levels(v) for v in node.inputs], axis=node.axis)


@run_node.register(q.QReshape)
def _reshape(node: q.QReshape, state: _State) -> Int64:
    rows = state.samples(node.inputs[0]) * node.shape[0]
    return state.levels(node.inputs[0]).reshape(rows, *node.shape[1:])


@run_node.register(q.QTranspose)
def _transpose(node: q.QTranspose, state: _State) -> Int64:
    return state.levels(node.inputs[0]).transpose(node.perm)


@run_node.register(q.QSlice)
def _slice(node: q.QSlice, state: _State) -> Int64:
    x = state.levels(node.inputs[0])
    window = [slice(None)] * x.ndim
    for start, end, axis, step in zip(node.starts, node.ends, node.axes, node.steps, strict=True):
        window[axis] = slice(start, end, step)
    return x[tuple(window)]


@run_node.register(q.QUpsample)
def _upsample(node: q.QUpsample, state: _State) -> Int64:
    x = state.levels(node.inputs[0])
    for axis, factor in enumerate(node.factors):
        x = np.repeat(x, factor, axis)
    return x


@run_node.register(q.QPad)
def _pad(node: q.QPad, state: _State) -> Int64:
    return spec.pad(state.levels(node.inputs[0]), node.pads)


def _output_stage(node: q.StagedNode, sums: Int64, state: _State) -> Int64:
    """Turn sums into levels: thresholds, or requantize and perhaps a table, or as they are."""
    axis = sums.ndim - 1 if isinstance(node, q.QDense) else 1
    names = node.inputs[1:] if isinstance(node, q.QAveragePool) else node.inputs[2:]
    constants = [state.graph.constants[v].astype(np.int32) for v in names]
    element = state.element(node.outputs[0])
    if node.stage is q.Stage.ACCUMULATOR:
        return sums + constants[0].reshape(-1, *(1,) * (sums.ndim - 1 - axis))
    if node.stage is q.Stage.THRESHOLDS:
        index = node.middle or element
        levels = spec.count_thresholds(sums, constants[0], index.minimum, axis)
    else:
        bias, multiplier, shift, low, high = constants[:REQUANTIZE_PARTS]
        levels = spec.requantize(sums, bias, multiplier, shift, low, high, axis)
    if node.middle is not None:
        return spec.look_up(levels, state.constant(names[-1]), node.middle)
    return levels
