"""Run integer operators on values between levels: what a layer does to an exact input.

A layer is judged by what it makes of the float network's values, and a network by what it would
give if one layer were exact. Both feed integer layers with levels that are not whole: level =
value / scale, neither rounded nor clipped. What follows is the operator's own arithmetic, in
float64 and without rounding before the output's levels.
"""

from __future__ import annotations

from functools import singledispatch
from typing import TYPE_CHECKING

import numpy as np

from lowbitc.compiler.diagnostics import InternalError
from lowbitc.compiler.ir import quantized as q
from lowbitc.compiler.numerics import spec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lowbitc.compiler.elements import Array, Float64, LevelType
    from lowbitc.compiler.execute_levels import LevelSession
    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.compiler.ir.node import Node

_FIXED_POINT = 1 << 16
_NEAR = 4
"""Share of a table, as one in so many entries, that its slope at an end is taken from."""
_PARTS = {q.Stage.REQUANTIZE: 5, q.Stage.ACCUMULATOR: 1}
"""Constants of an output stage, without its table."""


def run_between_levels(
    session: LevelSession, node: Node, values: Mapping[str, Array]
) -> dict[str, Array]:
    """Do as ``LevelSession.run_node``, where inputs on the chip may be float32 fractions."""
    graph = session.graph
    whole = isinstance(node, (q.Quantize, q.Dequantize)) or not isinstance(node, q.DEVICE_OPS)
    inputs = [values.get(v, graph.constants.get(v)) for v in node.inputs if v]
    arrays = [array for array in inputs if array is not None]
    if whole or not any(array.dtype.kind == "f" for array in arrays):
        return session.run_node(node, values)
    return {node.outputs[0]: _run(node, session, arrays)}


def to_fractions(values: Array, scale: float) -> Array:
    """Return values in units of levels, as they are."""
    return np.asarray(np.asarray(values, np.float32) / np.float32(scale), np.float32)


@singledispatch
def _run(node: Node, session: LevelSession, inputs: list[Array]) -> Array:
    # Operators that only move levels move fractions as well.
    values = dict(zip((v for v in node.inputs if v), inputs, strict=True))
    return session.run_node(node, values)[node.outputs[0]]


@_run.register(q.StagedNode)
def _(node: q.StagedNode, session: LevelSession, inputs: list[Array]) -> Array:
    sums = session.fractional_sums(node, inputs[0])
    constants = inputs[1 if isinstance(node, q.QAveragePool) else 2 :]
    shape = [1] * sums.ndim
    shape[sums.ndim - 1 if isinstance(node, q.QDense) else 1] = -1
    element = _element(session.graph, node)
    if node.stage is q.Stage.THRESHOLDS:
        found = np.zeros(sums.shape, np.int64)
        for column in _wide(constants[0]).T:
            # A threshold is the least whole sum behind the real one: that is half a unit less.
            found += sums >= column.reshape(shape) - 0.5
        return (found + element.minimum).astype(element.dtype)
    bias, *rest = (_wide(part).reshape(shape) for part in constants[: _PARTS[node.stage]])
    if node.stage is q.Stage.ACCUMULATOR:
        return np.asarray(sums + bias, np.float32)
    multiplier, shift, low, high = rest
    scaled = (sums + bias) * np.ldexp(multiplier, -shift.astype(np.int32))
    levels = np.clip(np.floor(scaled + 0.5), low, high).astype(np.int64)
    if node.middle is None:
        return levels.astype(element.dtype)
    return spec.look_up(levels, constants[-1], node.middle).astype(element.dtype)


@_run.register(q.QMaxPool)
def _(node: q.QMaxPool, _session: LevelSession, inputs: list[Array]) -> Array:
    fixed = np.rint(_wide(inputs[0]) * _FIXED_POINT).astype(np.int64)
    found = spec.max_pool(fixed, node.kernel, node.stride, node.dilation, node.pads)
    return np.asarray(found / _FIXED_POINT, np.float32)


@_run.register(q.QAdd)
def _(node: q.QAdd, session: LevelSession, inputs: list[Array]) -> Array:
    element = _element(session.graph, node)
    a, b = (_wide(v) for v in inputs)
    half = 1 << (node.shift - 1)
    scaled = np.floor((a * node.multiplier_a + b * node.multiplier_b + half) / (1 << node.shift))
    return np.clip(scaled, element.minimum, element.maximum).astype(element.dtype)


@_run.register(q.QTable)
def _(node: q.QTable, session: LevelSession, inputs: list[Array]) -> Array:
    source = _source(session.graph, node)
    return _between(_wide(inputs[0]), inputs[1], source, _element(session.graph, node))


def _between(levels: Float64, table: Array, source: LevelType, element: LevelType) -> Array:
    """Interpolate between the entries of a table, and round as the entries were.

    Beyond the ends it goes on as it does near them: what lies there was cut by the layer that
    made the levels, and is its error alone.
    """
    entries = _wide(table)
    at, last = levels - source.minimum, entries.size - 1
    near = max(1, entries.size // _NEAR)
    found = np.interp(at, np.arange(entries.size), entries)
    found += np.minimum(at, 0) * (entries[near] - entries[0]) / near
    found += np.maximum(at - last, 0) * (entries[last] - entries[last - near]) / near
    return np.clip(np.floor(found + 0.5), element.minimum, element.maximum).astype(element.dtype)


def _wide(array: Array) -> Float64:
    return np.asarray(array, np.float64)


def _element(graph: Graph, node: Node) -> LevelType:
    return _levels(graph, node.outputs[0])


def _source(graph: Graph, node: Node) -> LevelType:
    return _levels(graph, node.inputs[0])


def _levels(graph: Graph, value: str) -> LevelType:
    element = graph.tensor(value).levels
    if element is None:
        raise InternalError(f"{value} holds no levels")
    return element
