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
from lowbitc.compiler.numerics.pool_divisors import pool_factors
from lowbitc.targets.engines.traffic import Tally, Traffic
from lowbitc.targets.placement.model import NOWHERE, Placement
from lowbitc.targets.program.rows import stage_parts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lowbitc.compiler.elements import Array, Float32, Int32, Int64, LevelType
    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.compiler.ir.node import Node
    from lowbitc.targets.engines.events import Counts


@dataclass(frozen=True, slots=True)
class ReferenceLaunch:
    """A launch that runs node by node; its NPs are asked for when events are counted."""

    graph: Graph
    placement: Placement = NOWHERE

    def run(self, inputs: Mapping[str, Array], counts: Counts | None = None) -> dict[str, Array]:
        """Return the launch's outputs by name for n samples joined along axis 0."""
        graph = self.graph
        state = State(graph, {v: np.asarray(inputs[v]) for v in graph.inputs})
        tally = None
        if counts is not None:
            tally = Tally(Traffic(graph, self.placement), samples_of(graph, state.values), counts)
            tally.see_all(state.values)
        last = {v: i for i, node in enumerate(graph.nodes) for v in node.inputs}
        for index, node in enumerate(graph.nodes):
            state.values[node.outputs[0]] = run_node(node, state)
            if tally is not None:
                tally.see_all({node.outputs[0]: state.values[node.outputs[0]]})
            for value in node.inputs:
                if last[value] == index and value not in graph.outputs:
                    state.values.pop(value, None)
        if tally is not None:
            tally.close()
        return {value: _leave(state, value) for value in graph.outputs}


def samples_of(graph: Graph, inputs: Mapping[str, Array]) -> int:
    """Return how many samples the inputs of a launch hold."""
    return next((len(inputs[v]) // graph.shape(v)[0] for v in graph.inputs), 1)


@dataclass(frozen=True, slots=True)
class State:
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


def _leave(state: State, value: str) -> Array:
    """Return an output as the next step reads it: levels in one byte, sums in four."""
    held = state.graph.tensor(value).levels
    return state.values[value] if held is None else state.values[value].astype(held.dtype)


@functools.singledispatch
def run_node(node: Node, state: State) -> Array:
    """Return the output of one node."""
    del state
    message = f"no reference kernel for {node.op} {node.name}"
    raise InternalError(message)


@run_node.register(q.Quantize)
def _quantize(node: q.Quantize, state: State) -> Int64:
    (scale,) = state.graph.tensor(node.outputs[0]).scale
    x = state.values[node.inputs[0]].astype(np.float32)
    return spec.quantize(x, scale, state.element(node.outputs[0]))


@run_node.register(q.Dequantize)
def _dequantize(node: q.Dequantize, state: State) -> Float32:
    scale = state.graph.tensor(node.inputs[0]).scale
    return spec.dequantize(state.levels(node.inputs[0]), scale, node.axis)


@run_node.register(q.QConv)
def _conv(node: q.QConv, state: State) -> Int64:
    x, w = state.levels(node.inputs[0]), state.constant(node.inputs[1])
    sums = spec.convolve(x, w, node.stride, node.dilation, node.pads, node.groups)
    return _output_stage(node, sums, state)


@run_node.register(q.QConvTranspose)
def _conv_transpose(node: q.QConvTranspose, state: State) -> Int64:
    x, w = state.levels(node.inputs[0]), state.constant(node.inputs[1])
    sums = spec.convolve_transposed(
        x, w, node.stride, node.dilation, node.pads, node.output_padding, node.groups
    )
    return _output_stage(node, sums, state)


@run_node.register(q.QDense)
def _dense(node: q.QDense, state: State) -> Int64:
    sums = spec.dense(state.levels(node.inputs[0]), state.constant(node.inputs[1]))
    return _output_stage(node, sums, state)


@run_node.register(q.QAveragePool)
def _average_pool(node: q.QAveragePool, state: State) -> Int64:
    x = state.levels(node.inputs[0])
    sums = spec.window_sums(x, node.kernel, node.stride, node.pads)
    return _output_stage(node, sums * pool_factors(node, x.shape[2:], sums.shape[2:]), state)


@run_node.register(q.QMaxPool)
def _max_pool(node: q.QMaxPool, state: State) -> Int64:
    x = state.levels(node.inputs[0])
    return spec.max_pool(x, node.kernel, node.stride, node.dilation, node.pads)


@run_node.register(q.QAdd)
def _add(node: q.QAdd, state: State) -> Int64:
    a, b = (state.levels(v) for v in node.inputs)
    element = state.element(node.outputs[0])
    return spec.add(a, b, node.multiplier_a, node.multiplier_b, node.shift, element)


@run_node.register(q.QTable)
def _table(node: q.QTable, state: State) -> Int64:
    x, table = node.inputs
    return spec.look_up(state.levels(x), state.constant(table), state.element(x))


@run_node.register(q.QConcat)
def _concat(node: q.QConcat, state: State) -> Int64:
    return np.concatenate([state.levels(v) for v in node.inputs], axis=node.axis)


@run_node.register(q.QReshape)
def _reshape(node: q.QReshape, state: State) -> Int64:
    rows = state.samples(node.inputs[0]) * node.shape[0]
    return state.levels(node.inputs[0]).reshape(rows, *node.shape[1:])


@run_node.register(q.QTranspose)
def _transpose(node: q.QTranspose, state: State) -> Int64:
    return state.levels(node.inputs[0]).transpose(node.perm)


@run_node.register(q.QSlice)
def _slice(node: q.QSlice, state: State) -> Int64:
    x = state.levels(node.inputs[0])
    window = [slice(None)] * x.ndim
    for start, end, axis, step in zip(node.starts, node.ends, node.axes, node.steps, strict=True):
        window[axis] = slice(start, end, step)
    return x[tuple(window)]


@run_node.register(q.QUpsample)
def _upsample(node: q.QUpsample, state: State) -> Int64:
    x = state.levels(node.inputs[0])
    for axis, factor in enumerate(node.factors):
        x = np.repeat(x, factor, axis)
    return x


@run_node.register(q.QPad)
def _pad(node: q.QPad, state: State) -> Int64:
    return spec.pad(state.levels(node.inputs[0]), node.pads)


def _output_stage(node: q.StagedNode, sums: Int64, state: State) -> Int64:
    names = node.inputs[1:] if isinstance(node, q.QAveragePool) else node.inputs[2:]
    parts = [state.graph.constants[v].astype(np.int32) for v in names[: stage_parts(node.stage)]]
    table = state.constant(names[-1]) if node.middle is not None else None
    return output_stage(node, sums, parts, table, state.element(node.outputs[0]))


def output_stage(
    node: q.StagedNode,
    sums: Int64,
    parts: Sequence[Int32],
    table: Int64 | None,
    element: LevelType,
) -> Int64:
    """Turn sums into levels of ``element``: thresholds, or requantize and perhaps a table.

    Sums that leave the chip only get their bias.
    """
    axis = sums.ndim - 1 if isinstance(node, q.QDense) else 1
    if node.stage is q.Stage.ACCUMULATOR:
        bias = parts[0].astype(np.int64)
        return sums + bias.reshape(-1, *(1,) * (sums.ndim - 1 - axis))
    if node.stage is q.Stage.THRESHOLDS:
        index = node.middle or element
        levels = spec.count_thresholds(sums, parts[0], index.minimum, axis)
    else:
        offset, multiplier, shift, low, high = parts
        levels = spec.requantize(sums, offset, multiplier, shift, low, high, axis)
    if node.middle is not None and table is not None:
        return spec.look_up(levels, table, node.middle)
    return levels
