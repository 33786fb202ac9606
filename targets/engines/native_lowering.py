"""Lower integer nodes to layers of a native plan, node class by node class.

A native value is (channels, height, width). Tensors of rank 4 are that as they are, rank 3
(channels, length) has height 1, rank 2 (features) is read by dense layers in ONNX's flattening
order, channels first, which a plan's borders keep too. What does not fit is left to the reference
engine's definition.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import singledispatch
from typing import TYPE_CHECKING

import numpy as np

from lowbitc.compiler.ir import quantized as q
from lowbitc.compiler.numerics.pool_divisors import pool_factors
from lowbitc.targets.native import AddStage, Raw, Requantize, Stage, Table, Thresholds, Window

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lowbitc.compiler.elements import Array, LevelType
    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.compiler.ir.node import Node
    from lowbitc.targets.native.builder import PlanBuilder
    from lowbitc.targets.native.layers import Value

_ENTRIES = 256
_FLAT, _LINE, _IMAGE = 2, 3, 4


@dataclass(slots=True)
class Lowering:
    """A plan under construction: the builder, and the native value of each tensor."""

    graph: Graph
    builder: PlanBuilder
    values: dict[str, Value] = field(default_factory=dict["str", "Value"])

    def element(self, value: str) -> LevelType | None:
        """Return the level type of a tensor."""
        return self.graph.tensor(value).levels

    def constant(self, value: str) -> Array:
        """Return a constant."""
        return self.graph.constants[value]


def native_shape(shape: tuple[int, ...]) -> tuple[int, int, int] | None:
    """Return (channels, height, width) of one frame, or None where a plan has no such value."""
    if len(shape) == _FLAT:
        return (shape[1], 1, 1)
    if len(shape) == _LINE:
        return (shape[1], 1, shape[2])
    if len(shape) == _IMAGE:
        return (shape[1], shape[2], shape[3])
    return None


@singledispatch
def supports(node: Node, _graph: Graph) -> bool:
    """Whether a node can be a layer of a native plan."""
    del node
    return False


@singledispatch
def lower(node: Node, plan: Lowering) -> Value:
    """Add a node's layer to the plan and return the value that it makes."""
    del plan
    message = f"{node.op} is no native layer"
    raise TypeError(message)


def _fits(node: Node, graph: Graph, constants: int = 0) -> bool:
    data = node.inputs[: len(node.inputs) - constants]
    return all(native_shape(graph.shape(v)) is not None for v in (*data, *node.outputs))


# --- output stages -------------------------------------------------------------------------------


def native_stage(plan: Lowering, node: q.StagedNode, constants: Sequence[str]) -> Stage:
    """Return the native form of a node's output stage."""
    arrays = [np.asarray(plan.constant(name), np.int64) for name in constants]
    output = plan.element(node.outputs[0])
    if node.stage is q.Stage.THRESHOLDS:
        return Thresholds(arrays[0], output.minimum if output is not None else 0)
    if node.stage is q.Stage.ACCUMULATOR:
        return Raw()
    middle = node.middle if node.table else output
    if middle is None:
        message = f"{node.name} has no level type"
        raise TypeError(message)
    bias, multiplier, shift, low, high = arrays[:5]
    table = None
    if node.table:
        table = byte_table(plan.constant(constants[5]), middle)
    return Requantize(bias, multiplier, shift, low, high, table)


def byte_table(levels: Array, source: LevelType) -> Table:
    """Return a table by byte (two's complement) from one by level − smallest level."""
    by_byte = np.zeros(_ENTRIES, np.int64)
    index = np.arange(source.minimum, source.minimum + len(levels))
    by_byte[index & (_ENTRIES - 1)] = levels.astype(np.int64)
    return Table(tuple(by_byte.tolist()))


def _window(
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    pads: tuple[int, ...],
    dilation: tuple[int, ...] = (1, 1),
) -> Window:
    if len(kernel) == 1:
        return Window((1, kernel[0]), (1, stride[0]), (0, pads[0], 0, pads[1]), (1, dilation[-1]))
    return Window(
        (kernel[0], kernel[1]),
        (stride[0], stride[1]),
        (pads[0], pads[1], pads[2], pads[3]),
        (dilation[0], dilation[1]),
    )


# --- layers --------------------------------------------------------------------------------------


@supports.register(q.Quantize)
def _(node: q.Quantize, graph: Graph) -> bool:
    """Take a border whose levels only layers of plans read."""
    value = node.outputs[0]
    readers = [n for n in graph.nodes if value in n.inputs]
    inside = all(supports(reader, graph) for reader in readers)
    return inside and value not in graph.outputs and native_shape(graph.shape(value)) is not None


@lower.register(q.Quantize)
def _(node: q.Quantize, plan: Lowering) -> Value:
    held = plan.graph.tensor(node.outputs[0])
    element, shape = held.levels, native_shape(held.dims)
    if element is None or shape is None:
        message = f"{node.name} makes no levels that a plan can read"
        raise TypeError(message)
    return plan.builder.quantized_input(shape, held.scale[0], element.minimum, element.maximum)


@supports.register(q.QConv)
def _(node: q.QConv, graph: Graph) -> bool:
    return len(node.kernel) in {1, 2} and native_shape(graph.shape(node.inputs[0])) is not None


@lower.register(q.QConv)
def _(node: q.QConv, plan: Lowering) -> Value:
    weights = plan.constant(node.inputs[1]).astype(np.int8)
    if len(node.kernel) == 1:
        weights = weights[:, :, None, :]
    return plan.builder.conv(
        plan.values[node.inputs[0]],
        weights,
        native_stage(plan, node, node.inputs[2:]),
        _window(node.kernel, node.stride, node.pads, node.dilation),
        groups=node.groups,
        name=node.name,
    )


@supports.register(q.QDense)
def _(node: q.QDense, graph: Graph) -> bool:
    return len(graph.shape(node.inputs[0])) == _FLAT


@lower.register(q.QDense)
def _(node: q.QDense, plan: Lowering) -> Value:
    return plan.builder.dense(
        plan.values[node.inputs[0]],
        plan.constant(node.inputs[1]).astype(np.int8),
        native_stage(plan, node, node.inputs[2:]),
        name=node.name,
    )


@supports.register(q.QAveragePool)
def _(node: q.QAveragePool, graph: Graph) -> bool:
    return len(node.kernel) in {1, 2} and native_shape(graph.shape(node.inputs[0])) is not None


@lower.register(q.QAveragePool)
def _(node: q.QAveragePool, plan: Lowering) -> Value:
    x = plan.values[node.inputs[0]]
    factors = None
    if not node.count_padding:
        size, outputs = (plan.graph.shape(v)[2:] for v in (node.inputs[0], node.outputs[0]))
        by_place = pool_factors(node, size, outputs).reshape(-1, outputs[-1])
        factors = np.ascontiguousarray(by_place, np.int32)
    return plan.builder.sum_pool(
        x,
        native_stage(plan, node, node.inputs[1:]),
        _window(node.kernel, node.stride, node.pads),
        factors=factors,
        name=node.name,
    )


@supports.register(q.QMaxPool)
def _(node: q.QMaxPool, graph: Graph) -> bool:
    return len(node.kernel) in {1, 2} and _fits(node, graph)


@lower.register(q.QMaxPool)
def _(node: q.QMaxPool, plan: Lowering) -> Value:
    window = _window(node.kernel, node.stride, node.pads, node.dilation)
    return plan.builder.max_pool(plan.values[node.inputs[0]], window, name=node.name)


@supports.register(q.QAdd)
def _(node: q.QAdd, graph: Graph) -> bool:
    return _fits(node, graph)


@lower.register(q.QAdd)
def _(node: q.QAdd, plan: Lowering) -> Value:
    output = plan.element(node.outputs[0])
    low, high = (output.minimum, output.maximum) if output is not None else (0, 0)
    stage = AddStage(node.multiplier_a, node.multiplier_b, node.shift, low, high)
    a, b = (plan.values[v] for v in node.inputs)
    return plan.builder.add(a, b, stage, name=node.name)


@supports.register(q.QTable)
def _(node: q.QTable, graph: Graph) -> bool:
    return _fits(node, graph, constants=1)


@lower.register(q.QTable)
def _(node: q.QTable, plan: Lowering) -> Value:
    source = plan.element(node.inputs[0])
    if source is None:
        message = f"{node.name} reads no levels"
        raise TypeError(message)
    table = byte_table(plan.constant(node.inputs[1]), source)
    return plan.builder.table(plan.values[node.inputs[0]], table, name=node.name)


@supports.register(q.QConcat)
def _(node: q.QConcat, graph: Graph) -> bool:
    return node.axis == 1 and len(graph.shape(node.outputs[0])) != _FLAT and _fits(node, graph)


@lower.register(q.QConcat)
def _(node: q.QConcat, plan: Lowering) -> Value:
    return plan.builder.concat([plan.values[v] for v in node.inputs], name=node.name)


@supports.register(q.QReshape)
def _(node: q.QReshape, graph: Graph) -> bool:
    """Flattening is free: dense layers and borders read channels first."""
    before, after = (graph.shape(v) for v in (node.inputs[0], node.outputs[0]))
    if before[:1] != after[:1]:
        return False
    return len(after) == _FLAT or native_shape(before) == native_shape(after)


@lower.register(q.QReshape)
def _(node: q.QReshape, plan: Lowering) -> Value:
    return plan.values[node.inputs[0]]


@supports.register(q.QUpsample)
def _(node: q.QUpsample, graph: Graph) -> bool:
    return node.factors[:2] == (1, 1) and _fits(node, graph)


@lower.register(q.QUpsample)
def _(node: q.QUpsample, plan: Lowering) -> Value:
    factors = node.factors[2:]
    high, wide = (1, factors[0]) if len(factors) == 1 else (factors[0], factors[1])
    return plan.builder.resize(plan.values[node.inputs[0]], (high, wide), name=node.name)


@supports.register(q.QSlice)
def _(node: q.QSlice, graph: Graph) -> bool:
    steps = dict(zip(node.axes, node.steps, strict=True))
    whole_frames = 0 not in node.axes and steps.get(1, 1) == 1
    return whole_frames and len(graph.shape(node.inputs[0])) != _FLAT and _fits(node, graph)


@lower.register(q.QSlice)
def _(node: q.QSlice, plan: Lowering) -> Value:
    rank = len(plan.graph.shape(node.inputs[0]))
    starts = dict(zip(node.axes, node.starts, strict=True))
    steps = dict(zip(node.axes, node.steps, strict=True))
    size = native_shape(plan.graph.shape(node.outputs[0])) or (1, 1, 1)
    row, column = (2, 3) if rank == _IMAGE else (-1, 2)
    return plan.builder.slice(
        plan.values[node.inputs[0]],
        (starts.get(1, 0), starts.get(row, 0), starts.get(column, 0)),
        size,
        (steps.get(row, 1), steps.get(column, 1)),
        name=node.name,
    )
