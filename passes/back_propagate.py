"""Run gradients of a float graph's values backward, node by node.

Only what the chip's layers are made of: where another node is in the way, the gradients of what
it reads are not known. Samples are joined along axis 0. Products run in ONNX Runtime on one
thread, which gives the same bits however many there are.
"""

from __future__ import annotations

import itertools
from functools import singledispatchmethod
from typing import TYPE_CHECKING

import numpy as np

from lowbitc.compiler.elements import F32
from lowbitc.compiler.execute import FloatSession
from lowbitc.compiler.ir import ops
from lowbitc.compiler.ir.graph import Graph, Stage, reads
from lowbitc.compiler.ir.groups import RESHAPES
from lowbitc.compiler.ir.types import TensorType
from lowbitc.compiler.statistics.linear_systems import multiply
from lowbitc.passes.chains import clip_bounds

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lowbitc.compiler.elements import Array, Float32
    from lowbitc.compiler.ir.node import Node

    Known = list[tuple[str, Float32]]
    """Gradients of some values that a node reads."""

    Values = Mapping[str, Array]

_ALWAYS = (
    ops.Conv,
    ops.Dense,
    ops.Relu,
    ops.Clamp,
    ops.Bound,
    ops.Add,
    ops.ScaleShift,
    ops.GlobalAveragePool,
    *RESHAPES,
    ops.Transpose,
    ops.Concat,
)


def is_differentiable(node: Node) -> bool:
    """Whether gradients pass a node (but for an Add that broadcasts)."""
    if isinstance(node, ops.MaxPool):
        return not node.ceil_mode and all(d == 1 for d in node.dilation)
    if isinstance(node, ops.AveragePool):
        return not node.ceil_mode and (node.count_padding or not any(node.pads))
    if isinstance(node, ops.Pad):
        return node.mode == "constant" and all(p >= 0 for p in node.pads)
    return isinstance(node, _ALWAYS)


class Backward:
    """Gradients of a graph's values, given those of some later ones."""

    def __init__(self, graph: Graph) -> None:
        """Load nothing yet."""
        self.graph = graph
        self._sessions: dict[str, FloatSession] = {}

    def run(
        self, seeds: Mapping[str, Float32], values: Values, wanted: set[str]
    ) -> dict[str, Float32]:
        """Return the gradients of ``wanted`` values, as far as they are known."""
        known = dict(seeds)
        unknown: set[str] = set()
        found: dict[str, Float32] = {}
        for node in reversed(self.graph.nodes):
            if unknown.intersection(node.outputs):
                unknown.update(reads(node))
                continue
            held = {v: known.pop(v) for v in node.outputs if v in known}
            found |= {v: g for v, g in held.items() if v in wanted}
            if not held:
                continue
            if node.name in self.graph.host_reasons or not is_differentiable(node):
                unknown.update(reads(node))
                continue
            parts = self.pull(node, held[node.outputs[0]], values)
            if parts is None:
                unknown.update(reads(node))
                continue
            for value, gradient in parts:
                if value in self.graph.constants or value in self.graph.inputs:
                    continue
                known[value] = known[value] + gradient if value in known else gradient
        return {v: g for v, g in found.items() if v not in unknown}

    # --- nodes -----------------------------------------------------------------------------------

    @singledispatchmethod
    def pull(self, node: Node, gradient: Float32, values: Values) -> Known | None:
        """Return the gradients of what a node reads; None where they are not known."""
        del node, gradient, values
        return None

    @pull.register(ops.Conv)
    def _(self, node: ops.Conv, gradient: Float32, values: Values) -> Known:
        del values
        source = node.inputs[0]
        size = self.graph.shape(source)[2:]
        rank = len(size)
        reach = [d * (k - 1) for d, k in zip(node.dilation, node.kernel, strict=True)]
        wide = [n + r for n, r in zip(size, reach, strict=True)]
        spread = np.zeros((*gradient.shape[:2], *wide), np.float32)
        into: list[slice] = [slice(None), slice(None)]
        take: list[slice] = [slice(None), slice(None)]
        for axis in range(rank):
            start = reach[axis] - node.pads[axis]
            stride, count = node.stride[axis], gradient.shape[axis + 2]
            first = max(0, -(start // stride)) if start < 0 else 0
            last = min(count, (wide[axis] - 1 - start) // stride + 1)
            take.append(slice(first, last))
            at = start + first * stride
            into.append(slice(at, at + (last - first - 1) * stride + 1, stride))
        spread[tuple(into)] = gradient[tuple(take)]
        session = self._sessions.get(node.name)
        if session is None:
            session = self._sessions[node.name] = self._turned(node, tuple(wide))
        return [(source, np.asarray(session.arrays({"g": spread})["x"], np.float32))]

    def _turned(self, node: ops.Conv, wide: tuple[int, ...]) -> FloatSession:
        """Load the convolution that takes spread gradients back: kernels turned around."""
        weights = np.asarray(self.graph.constants[node.inputs[1]], np.float32)
        rank = len(node.kernel)
        grouped = weights.reshape(node.groups, -1, *weights.shape[1:])
        swapped = np.swapaxes(grouped, 1, 2)
        turned = swapped.reshape(-1, *swapped.shape[2:])
        turned = np.ascontiguousarray(np.flip(turned, tuple(range(2, rank + 2))))
        compute = ops.Conv(
            name=f"{node.name}.backward",
            inputs=("g", "w"),
            outputs=("x",),
            sources=(),
            kernel=node.kernel,
            stride=(1,) * rank,
            dilation=node.dilation,
            pads=(0,) * (2 * rank),
            groups=node.groups,
        )
        types = {
            "g": TensorType((1, weights.shape[0], *wide), F32),
            "w": TensorType(turned.shape, F32),
            "x": TensorType((1, *self.graph.shape(node.inputs[0])[1:]), F32),
        }
        small = Graph(
            name=compute.name,
            inputs=("g",),
            outputs=("x",),
            nodes=(compute,),
            types=types,
            constants={"w": turned},
            opset=max(self.graph.opset, 13),
            stage=Stage.FOLDED,
        )
        return FloatSession(small, threads=1)

    @pull.register(ops.Dense)
    def _(self, node: ops.Dense, gradient: Float32, values: Values) -> Known:
        del values
        weights = np.asarray(self.graph.constants[node.inputs[1]], np.float32)
        rows = gradient.reshape(1, -1, weights.shape[0]).astype(np.float64)
        found = multiply(rows, weights[np.newaxis].astype(np.float64))
        return [(node.inputs[0], found.reshape(*gradient.shape[:-1], -1).astype(np.float32))]

    @pull.register(ops.Relu)
    @pull.register(ops.Clamp)
    @pull.register(ops.Bound)
    def _(self, node: Node, gradient: Float32, values: Values) -> Known:
        x = np.asarray(values[node.inputs[0]], np.float32)
        low, high = clip_bounds(self.graph, node, x.shape[1])
        shape = (-1, *(1,) * (x.ndim - 2))
        inside = (x > low.reshape(shape)) & (x < high.reshape(shape))
        return [(node.inputs[0], np.where(inside, gradient, np.float32(0)))]

    @pull.register(ops.Add)
    def _(self, node: ops.Add, gradient: Float32, values: Values) -> Known | None:
        del values
        shape = self.graph.shape(node.outputs[0])
        inner = [v for v in node.inputs if v not in self.graph.constants]
        if any(self.graph.shape(v) != shape for v in inner):
            return None
        return [(v, gradient) for v in inner]

    @pull.register(ops.ScaleShift)
    def _(self, node: ops.ScaleShift, gradient: Float32, values: Values) -> Known:
        del values
        scale = np.asarray(self.graph.constants[node.inputs[1]], np.float32)
        return [(node.inputs[0], gradient * scale.reshape(-1, *(1,) * (gradient.ndim - 2)))]

    @pull.register(ops.GlobalAveragePool)
    def _(self, node: ops.GlobalAveragePool, gradient: Float32, values: Values) -> Known:
        del values
        size = self.graph.shape(node.inputs[0])[2:]
        whole = np.broadcast_to(gradient, (*gradient.shape[:2], *size))
        return [(node.inputs[0], whole / np.float32(np.prod(size)))]

    @pull.register(ops.AveragePool)
    def _(self, node: ops.AveragePool, gradient: Float32, values: Values) -> Known:
        x = np.asarray(values[node.inputs[0]])
        share = gradient / np.float32(np.prod(node.kernel))
        found = np.zeros(_padded(x.shape, node), np.float32)
        for window in _windows(node, gradient.shape):
            found[window] += share
        return [(node.inputs[0], _inner(found, x.shape, node))]

    @pull.register(ops.MaxPool)
    def _(self, node: ops.MaxPool, gradient: Float32, values: Values) -> Known:
        x, y = (np.asarray(values[v], np.float32) for v in (node.inputs[0], node.outputs[0]))
        padded = np.full(_padded(x.shape, node), -np.inf, np.float32)
        _inner(padded, x.shape, node)[...] = x
        found = np.zeros_like(padded)
        left = np.array(gradient, np.float32)
        for window in _windows(node, gradient.shape):
            here = padded[window] == y
            found[window] += np.where(here, left, np.float32(0))
            left[here] = 0
        return [(node.inputs[0], _inner(found, x.shape, node))]

    @pull.register(ops.Reshape)
    @pull.register(ops.Flatten)
    @pull.register(ops.Squeeze)
    @pull.register(ops.Unsqueeze)
    def _(self, node: Node, gradient: Float32, values: Values) -> Known:
        return [(node.inputs[0], gradient.reshape(np.shape(values[node.inputs[0]])))]

    @pull.register(ops.Transpose)
    def _(self, node: ops.Transpose, gradient: Float32, values: Values) -> Known:
        del values
        return [(node.inputs[0], np.transpose(gradient, np.argsort(node.perm)))]

    @pull.register(ops.Concat)
    def _(self, node: ops.Concat, gradient: Float32, values: Values) -> Known:
        sizes = [np.shape(values[v])[node.axis] for v in node.inputs]
        parts = np.split(gradient, np.cumsum(sizes)[:-1], axis=node.axis)
        return list(zip(node.inputs, parts, strict=True))

    @pull.register(ops.Pad)
    def _(self, node: ops.Pad, gradient: Float32, values: Values) -> Known:
        rank = gradient.ndim
        shape = np.shape(values[node.inputs[0]])
        cut = tuple(slice(b, b + n) for b, n in zip(node.pads[:rank], shape, strict=True))
        return [(node.inputs[0], gradient[cut])]


def _padded(shape: tuple[int, ...], node: ops.AveragePool | ops.MaxPool) -> tuple[int, ...]:
    rank = len(node.kernel)
    ends = zip(shape[2:], node.pads[:rank], node.pads[rank:], strict=True)
    return (*shape[:2], *(n + b + e for n, b, e in ends))


def _inner(padded: Float32, shape: tuple[int, ...], node: ops.AveragePool | ops.MaxPool) -> Float32:
    cut = (slice(b, b + n) for b, n in zip(node.pads, shape[2:], strict=False))
    return padded[(slice(None), slice(None), *cut)]


def _windows(
    node: ops.AveragePool | ops.MaxPool, shape: tuple[int, ...]
) -> Iterator[tuple[slice, ...]]:
    for taps in itertools.product(*(range(k) for k in node.kernel)):
        yield (
            slice(None),
            slice(None),
            *(
                slice(t, t + (n - 1) * s + 1, s)
                for t, n, s in zip(taps, shape[2:], node.stride, strict=True)
            ),
        )
