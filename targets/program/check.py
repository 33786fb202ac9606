"""Check that integer nodes read from a file are what the chip runs: shapes, ranges, types.

Each check yields sentences; none means that engines may run the node without further checks.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING

import numpy as np

from lowbitc.compiler.elements import ACCUMULATOR_BITS, F32, Alphabet, LevelType
from lowbitc.compiler.ir import quantized as q
from lowbitc.compiler.numerics.spec import MULTIPLIER_BITS, SHIFT_MAX
from lowbitc.targets.program.rows import constant_names

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.compiler.ir.node import Node
    from lowbitc.compiler.ir.types import TensorType

MAX_ELEMENTS = 1 << 30
_WIDTHS = (1, 2, 4, 8)
_LEAST_SCALE = float(np.finfo(np.float32).smallest_subnormal)
_MOST_SCALE = float(np.finfo(np.float32).max)
_PLANE = (3, 4)
"""Ranks of a sequence and of an image."""
_MOVES = (q.QReshape, q.QTranspose, q.QSlice, q.QUpsample, q.QPad, q.QMaxPool)


def check_value(name: str, held: TensorType) -> Iterator[str]:
    """Yield what is wrong with the type of a value."""
    if not held.dims or any(not 1 <= d <= MAX_ELEMENTS for d in held.dims):
        yield f"{name} has the shape {held.dims}"
    elif math.prod(held.dims) > MAX_ELEMENTS:
        yield f"{name} has {math.prod(held.dims)} elements, more than {MAX_ELEMENTS}"
    if any(not _LEAST_SCALE <= s <= _MOST_SCALE for s in held.scale):
        yield f"{name} has a scale that is not positive and finite in float32"
    if isinstance(held.element, LevelType) and not held.scale:
        yield f"{name} holds levels and has no scale"


def check_node(node: Node, graph: Graph) -> Iterator[str]:
    """Yield what is wrong with a node, given the types of its values."""
    names = {constant_names(node).weight, *constant_names(node).stage, constant_names(node).table}
    data = [v for v in node.inputs if v not in names]
    if len(node.outputs) != 1 or any(v not in graph.types for v in (*data, *node.outputs)):
        yield "it reads or makes a value that has no type"
        return
    count = 2 if isinstance(node, q.QAdd) else 1
    if len(data) != count and not (isinstance(node, q.QConcat) and data):
        yield f"it reads {len(data)} values"
        return
    if not isinstance(node, q.Quantize):
        for value in data:
            yield from _activation(graph, value, sums=isinstance(node, q.Dequantize))
    if not isinstance(node, q.Dequantize):
        sums = isinstance(node, q.StagedNode) and node.stage is q.Stage.ACCUMULATOR
        yield from _activation(graph, node.outputs[0], sums=sums)
    shapes = [graph.shape(v) for v in data]
    problem, expected = _shape(node, graph, shapes)
    if problem:
        yield problem
        return
    if expected != graph.shape(node.outputs[0]):
        yield f"its output has the shape {graph.shape(node.outputs[0])}, not {expected}"
    yield from _types(node, graph, data)


def _activation(graph: Graph, value: str, *, sums: bool) -> Iterator[str]:
    element = graph.tensor(value).levels
    if element is None or element.alphabet is Alphabet.ODD:
        yield f"{value} does not hold activation levels"
    elif element.bits not in _WIDTHS and not (sums and element.bits == ACCUMULATOR_BITS):
        yield f"{value} holds {element.name}, which the chip does not pass on"


def _types(node: Node, graph: Graph, data: Sequence[str]) -> Iterator[str]:
    """Check element types and scales against each other."""
    output = graph.tensor(node.outputs[0])
    first = graph.tensor(data[0])
    if isinstance(node, (q.Quantize, q.Dequantize)):
        plain = first if isinstance(node, q.Quantize) else output
        held = output if isinstance(node, q.Quantize) else first
        by_channel = isinstance(node, q.Dequantize)
        axis = held.dims[node.axis] if isinstance(node, q.Dequantize) else 1
        if plain.element != F32:
            yield f"a border of {plain.element.name}, not float32"
        if len(held.scale) != 1 and not (by_channel and len(held.scale) == axis):
            yield f"{len(held.scale)} scales"
        return
    if isinstance(node, _MOVES) and (first.element, first.scale) != (output.element, output.scale):
        yield "its output has another element type or scale than its input"
    if isinstance(node, q.QConcat) and {
        (graph.tensor(v).element, graph.tensor(v).scale) for v in data
    } != {(output.element, output.scale)}:
        yield "its operands and output differ in element type or scale"
    if isinstance(node, q.QAdd):
        multipliers = (node.multiplier_a, node.multiplier_b)
        if not all(0 < m < 1 << MULTIPLIER_BITS for m in multipliers):
            yield f"multipliers {multipliers}"
        if not 1 <= node.shift <= SHIFT_MAX:
            yield f"shift {node.shift}"
    if isinstance(node, q.StagedNode):
        yield from _stage(node, output)


def _stage(node: q.StagedNode, output: TensorType) -> Iterator[str]:
    bits = output.levels.bits if output.levels else 0
    sums = node.stage is q.Stage.ACCUMULATOR
    if sums is not (bits == ACCUMULATOR_BITS):
        yield f"stage {node.stage.value} with an output of {bits} bits"
    if node.table is not (node.middle is not None) or (sums and node.table):
        yield "a table without the type of its index, or the type without a table"
    if node.middle is not None and (
        node.middle.bits not in _WIDTHS or node.middle.alphabet is Alphabet.ODD
    ):
        yield f"a table indexed by {node.middle.name}"


_Shape = tuple[int, ...]
_Found = tuple[str, _Shape]
"""What is wrong, or "" and the output's shape."""


@functools.singledispatch
def _shape(node: Node, graph: Graph, shapes: list[_Shape]) -> _Found:  # noqa: ARG001
    """Return the shape of a node's output."""
    return f"{node.op} is no operator of the chip", ()


def _walk(node: q.QConv | q.QMaxPool | q.QAveragePool, x: _Shape) -> tuple[str, tuple[int, ...]]:
    rank = len(x) - 2
    dilation = (1,) * rank if isinstance(node, q.QAveragePool) else node.dilation
    if len(x) not in _PLANE:
        return f"an input of shape {x}", ()
    lengths = {len(node.kernel), len(node.stride), len(dilation), len(node.pads) // 2}
    if lengths != {rank} or len(node.pads) != 2 * rank:
        return f"a window of other dimensions than its input {x}", ()
    if any(v < 1 for v in (*node.kernel, *node.stride, *dilation)) or min(node.pads) < 0:
        return "a kernel, stride or dilation below 1, or a negative pad", ()
    if max(*node.kernel, *node.stride, *dilation, *node.pads) > MAX_ELEMENTS:
        return "a kernel, stride, dilation or pad without measure", ()
    padded = [n + node.pads[i] + node.pads[rank + i] for i, n in enumerate(x[2:])]
    if math.prod((*x[:2], *padded)) > MAX_ELEMENTS:
        return f"an input of {padded} with its padding", ()
    size: list[int] = []
    for n, k, s, d, begin, end in zip(
        x[2:], node.kernel, node.stride, dilation, node.pads[:rank], node.pads[rank:], strict=True
    ):
        reach = d * (k - 1) + 1
        if n + begin + end < reach:
            return f"a window of {reach} over {n} + {begin} + {end}", ()
        size.append((n + begin + end - reach) // s + 1)
    return "", tuple(size)


@_shape.register(q.QConv)
def _conv(node: q.QConv, graph: Graph, shapes: list[_Shape]) -> _Found:
    (x,) = shapes
    problem, size = _walk(node, x)
    if problem:
        return problem, ()
    w = graph.shape(constant_names(node).weight)
    outputs = w[0] if w else 0
    if node.groups < 1 or x[1] % node.groups or outputs % node.groups:
        return f"{node.groups} groups for {x[1]} inputs and {outputs} outputs", ()
    if w != (outputs, x[1] // node.groups, *node.kernel):
        return f"weights of shape {w}", ()
    return "", (x[0], outputs, *size)


@_shape.register(q.QConvTranspose)
def _conv_transpose(node: q.QConvTranspose, graph: Graph, shapes: list[_Shape]) -> _Found:
    (x,) = shapes
    rank = len(x) - 2
    fields = (node.kernel, node.stride, node.dilation, node.output_padding)
    if len(x) not in _PLANE or {len(f) for f in fields} != {rank} or len(node.pads) != 2 * rank:
        return f"a window of other dimensions than its input {x}", ()
    if any(not 1 <= v <= MAX_ELEMENTS for f in fields[:3] for v in f) or any(
        v < 0 for v in (*node.pads, *node.output_padding)
    ):
        return "a kernel, stride or dilation out of range, or a negative pad", ()
    w = graph.shape(constant_names(node).weight)
    if node.groups < 1 or x[1] % node.groups or w[:1] != (x[1],) or w[2:] != node.kernel:
        return f"weights of shape {w} in {node.groups} groups", ()
    size = tuple(
        (n - 1) * s + d * (k - 1) + 1 + extra - begin - end
        for n, s, d, k, extra, begin, end in zip(
            x[2:],
            node.stride,
            node.dilation,
            node.kernel,
            node.output_padding,
            node.pads[:rank],
            node.pads[rank:],
            strict=True,
        )
    )
    spread = [n + b + e for n, b, e in zip(size, node.pads[:rank], node.pads[rank:], strict=True)]
    if any(n < 1 for n in size) or max(spread) > MAX_ELEMENTS:
        return f"an output of size {size}", ()
    if math.prod(spread) * x[0] * w[1] * node.groups > MAX_ELEMENTS:
        return f"sums of size {spread} before cropping", ()
    return "", (x[0], w[1] * node.groups, *size)


@_shape.register(q.QDense)
def _dense(node: q.QDense, graph: Graph, shapes: list[_Shape]) -> _Found:
    (x,) = shapes
    w = graph.shape(constant_names(node).weight)
    if len(x) < 2 or len(w) != 2 or w[1] != x[-1]:  # noqa: PLR2004 - a matrix
        return f"weights of shape {w} for an input of shape {x}", ()
    return "", (*x[:-1], w[0])


@_shape.register(q.QAveragePool)
def _average(node: q.QAveragePool, graph: Graph, shapes: list[_Shape]) -> _Found:
    del graph
    (x,) = shapes
    problem, size = _walk(node, x)
    return problem, () if problem else (*x[:2], *size)


@_shape.register(q.QMaxPool)
def _max(node: q.QMaxPool, graph: Graph, shapes: list[_Shape]) -> _Found:
    del graph
    (x,) = shapes
    problem, size = _walk(node, x)
    if problem:
        return problem, ()
    if math.prod(size) > MAX_ELEMENTS:
        return f"an output of size {size}", ()
    rank = len(x) - 2
    for n, out, k, s, d, begin in zip(
        x[2:], size, node.kernel, node.stride, node.dilation, node.pads[:rank], strict=True
    ):
        # The first tap that is not before the input must not be behind it.
        start = np.arange(out, dtype=np.int64) * s - begin
        first = start + -(-np.maximum(-start, 0) // d) * d
        if bool(np.any((first >= n) | (first > start + d * (k - 1)))):
            return "a window that sees padding only", ()
    return "", (*x[:2], *size)


@_shape.register(q.QAdd)
def _add(node: q.QAdd, graph: Graph, shapes: list[_Shape]) -> _Found:
    del node, graph
    a, b = shapes
    return ("" if a == b else f"operands of shapes {a} and {b}"), a


@_shape.register(q.QTable)
@_shape.register(q.Quantize)
@_shape.register(q.Dequantize)
def _same(node: Node, graph: Graph, shapes: list[_Shape]) -> _Found:
    del graph
    (x,) = shapes
    if isinstance(node, q.Dequantize) and not 0 <= node.axis < len(x):
        return f"channel axis {node.axis} of a value of shape {x}", ()
    return "", x


@_shape.register(q.QConcat)
def _concat(node: q.QConcat, graph: Graph, shapes: list[_Shape]) -> _Found:
    del graph
    first, axis = shapes[0], node.axis
    if not 1 <= axis < len(first):
        return f"axis {axis} of operands of shape {first}", ()
    if any(s[:axis] != first[:axis] or s[axis + 1 :] != first[axis + 1 :] for s in shapes):
        return f"operands of shapes {shapes}", ()
    return "", (*first[:axis], sum(s[axis] for s in shapes), *first[axis + 1 :])


@_shape.register(q.QReshape)
def _reshape(node: q.QReshape, graph: Graph, shapes: list[_Shape]) -> _Found:
    del graph
    (x,) = shapes
    if any(d < 1 for d in node.shape) or math.prod(node.shape) != math.prod(x):
        return f"shape {node.shape} for an input of shape {x}", ()
    return "", node.shape


@_shape.register(q.QTranspose)
def _transpose(node: q.QTranspose, graph: Graph, shapes: list[_Shape]) -> _Found:
    del graph
    (x,) = shapes
    if sorted(node.perm) != list(range(len(x))) or node.perm[0]:
        return f"permutation {node.perm} of a value of shape {x}", ()
    return "", tuple(x[i] for i in node.perm)


@_shape.register(q.QSlice)
def _slice(node: q.QSlice, graph: Graph, shapes: list[_Shape]) -> _Found:
    del graph
    (x,) = shapes
    lengths = {len(node.starts), len(node.ends), len(node.axes), len(node.steps)}
    if len(lengths) != 1 or len(set(node.axes)) != len(node.axes):
        return "bounds that do not go together", ()
    out = list(x)
    for start, end, axis, step in zip(node.starts, node.ends, node.axes, node.steps, strict=True):
        if not (1 <= axis < len(x) and 0 <= start < end <= x[axis] and step >= 1):
            return f"bounds {start}:{end}:{step} of axis {axis} of a value of shape {x}", ()
        out[axis] = -(-(end - start) // step)
    return "", tuple(out)


@_shape.register(q.QUpsample)
def _upsample(node: q.QUpsample, graph: Graph, shapes: list[_Shape]) -> _Found:
    del graph
    (x,) = shapes
    if len(node.factors) != len(x) or any(f < 1 for f in node.factors) or node.factors[0] != 1:
        return f"factors {node.factors} for a value of shape {x}", ()
    return "", tuple(n * f for n, f in zip(x, node.factors, strict=True))


@_shape.register(q.QPad)
def _pad(node: q.QPad, graph: Graph, shapes: list[_Shape]) -> _Found:
    del graph
    (x,) = shapes
    rank = len(x)
    if len(node.pads) != 2 * rank or min(node.pads) < 0 or node.pads[0] or node.pads[rank]:
        return f"pads {node.pads} for a value of shape {x}", ()
    return "", tuple(n + node.pads[i] + node.pads[rank + i] for i, n in enumerate(x))
