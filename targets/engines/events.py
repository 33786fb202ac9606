"""Events and synaptic operations of layers: what the chip would do, counted from levels.

An event is a level that is not 0 on its way into a layer. Each causes one synaptic operation for
every weight that it meets: the output positions whose window holds it, times the output channels
of its group. Pools, tables and Adds do one operation an event and window.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from lowbitc.compiler.ir import quantized as q

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lowbitc.compiler.elements import Array, Int64
    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.compiler.ir.node import Node


@dataclass(slots=True)
class LayerCount:
    """Sums over all samples so far: levels that came in, events among them, operations."""

    levels: int = 0
    events: int = 0
    synaptic_ops: int = 0

    @property
    def sparsity(self) -> float:
        """Share of the levels coming in that are 0."""
        return 1 - self.events / self.levels if self.levels else 0.0


def _layers() -> dict[str, LayerCount]:
    return {}


@dataclass(slots=True)
class Counts:
    """Counts by layer, over so many samples."""

    samples: int = 0
    layers: dict[str, LayerCount] = field(default_factory=_layers)

    def of(self, layer: str) -> LayerCount:
        """Return the counter of a layer, a new one at first."""
        return self.layers.setdefault(layer, LayerCount())


COUNTED = (
    q.QConv,
    q.QConvTranspose,
    q.QDense,
    q.QAveragePool,
    q.QMaxPool,
    q.QAdd,
    q.QTable,
)
"""Operators that do work for an event; the others only move levels."""


def count_node(node: Node, graph: Graph, values: Mapping[str, Array], counts: Counts) -> None:
    """Add the events that go into a node, whose inputs are among ``values``."""
    if not isinstance(node, COUNTED):
        return
    count = counts.of(node.name)
    for value in node.inputs[: 2 if isinstance(node, q.QAdd) else 1]:
        levels = values[value]
        spatial = events_by_position(levels, channels_last=isinstance(node, q.QDense))
        count.levels += levels.size
        count.events += int(spatial.sum())
        count.synaptic_ops += synaptic_ops(node, graph, spatial)


def events_by_position(levels: Array, *, channels_last: bool) -> Int64:
    """Return how many levels are not 0 at each place, summed over frames and channels."""
    if channels_last:
        return np.asarray(np.count_nonzero(levels), np.int64)
    return np.asarray(np.count_nonzero(levels, axis=(0, 1)), np.int64)


def synaptic_ops(node: Node, graph: Graph, events: Int64) -> int:
    """Return the operations that events at each place of a node's input cause."""
    return int((events * fan_out(node, graph)).sum())


@functools.singledispatch
def fan_out(node: Node, graph: Graph) -> Int64:
    """Return how many operations one event causes, by place; one number where all are equal."""
    del node, graph
    return np.ones((), np.int64)


@fan_out.register(q.QDense)
def _dense(node: q.QDense, graph: Graph) -> Int64:
    return np.asarray(graph.shape(node.inputs[1])[0], np.int64)


@fan_out.register(q.QConv)
@fan_out.register(q.QAveragePool)
@fan_out.register(q.QMaxPool)
def _window(node: q.QConv | q.QAveragePool | q.QMaxPool, graph: Graph) -> Int64:
    size = graph.shape(node.inputs[0])[2:]
    outputs = graph.shape(node.outputs[0])[2:]
    rank = len(size)
    dilation = (1,) * rank if isinstance(node, q.QAveragePool) else node.dilation
    axes: list[Int64] = []
    for n, out, k, s, d, begin in zip(
        size, outputs, node.kernel, node.stride, dilation, node.pads[:rank], strict=True
    ):
        read = _taps(out, s, k, d) - begin
        inside = read[(read >= 0) & (read < n)]
        axes.append(np.bincount(inside, minlength=n).astype(np.int64))
    channels = 1
    if isinstance(node, q.QConv):
        channels = graph.shape(node.outputs[0])[1] // node.groups
    return _product(axes) * channels


@fan_out.register(q.QConvTranspose)
def _transposed(node: q.QConvTranspose, graph: Graph) -> Int64:
    size = graph.shape(node.inputs[0])[2:]
    outputs = graph.shape(node.outputs[0])[2:]
    axes: list[Int64] = []
    for n, out, k, s, d, begin in zip(
        size,
        outputs,
        node.kernel,
        node.stride,
        node.dilation,
        node.pads[: len(size)],
        strict=True,
    ):
        written = _taps(n, s, k, d) - begin
        axes.append(np.count_nonzero((written >= 0) & (written < out), axis=1).astype(np.int64))
    return _product(axes) * (graph.shape(node.outputs[0])[1] // node.groups)


def _taps(count: int, stride: int, kernel: int, dilation: int) -> Int64:
    """Return i · stride + t · dilation, [count, kernel]."""
    starts = np.arange(count, dtype=np.int64) * stride
    offsets = np.arange(kernel, dtype=np.int64) * dilation
    return np.asarray(np.add.outer(starts, offsets), np.int64)


def _product(axes: Sequence[Int64]) -> Int64:
    """Return the outer product of one vector a spatial dimension."""
    found = np.ones((), np.int64)
    for axis in axes:
        found = found[..., None] * axis
    return found
