"""What a neural processor reads of its layer's inputs, and what it makes of its output.

Both are boxes: a slice for every dimension behind the frames.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from lowbitc.compiler.ir import quantized as q

if TYPE_CHECKING:
    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.compiler.ir.node import Node
    from lowbitc.targets.placement.layer import Layer
    from lowbitc.targets.placement.model import NeuralProcessor, Range

Box: TypeAlias = tuple[slice, ...]

_COLUMNS = 2
"""The dimension of columns, behind the frames."""
MOVERS = (q.QTranspose, q.QReshape)
"""Layers whose NPs hold a block of the input and send it on in another order."""


def operands(node: Node, graph: Graph) -> tuple[str, ...]:
    """Return the values that a node reads, without its constants."""
    return tuple(v for v in node.inputs if v and v not in graph.constants)


def read_channels(layer: Layer, processor: NeuralProcessor) -> Range:
    """Return the input channels that an NP reads, of all groups together."""
    if layer.groups == 1:
        return processor.inputs
    start, stop = processor.channels
    per_group = layer.outputs_per_group
    return start // per_group * layer.inputs, -(-stop // per_group) * layer.inputs


def read_box(
    node: Node, graph: Graph, layer: Layer, processor: NeuralProcessor, operand: int
) -> Box:
    """Return what an NP reads of its layer's input number ``operand``."""
    value = operands(node, graph)[operand]
    shape = graph.shape(value)[1:]
    channels = read_channels(layer, processor)
    columns = _read_columns(node, layer, processor)
    if isinstance(node, q.QConcat):
        offset = sum(graph.shape(v)[node.axis] for v in node.inputs[:operand])
        if node.axis == 1:
            channels = _moved(channels, -offset)
        elif node.axis == _COLUMNS + 1 and columns is not None:
            columns = _moved(columns, -offset)
    return _box(shape, channels, columns, last=isinstance(node, q.QDense))


def made_box(node: Node, graph: Graph, layer: Layer, processor: NeuralProcessor) -> Box:
    """Return what an NP makes of its layer's output, which is no mover's."""
    shape = graph.shape(node.outputs[0])[1:]
    columns = None if _whole(layer, processor) else processor.columns
    return _box(shape, processor.channels, columns, last=isinstance(node, q.QDense))


def boxes_meet(a: Box, b: Box, shape: tuple[int, ...]) -> bool:
    """Whether two boxes of a value of ``shape`` have a level in common."""
    spans = [(p.indices(n)[:2], r.indices(n)[:2]) for p, r, n in zip(a, b, shape[1:], strict=True)]
    return all(p[0] < r[1] and r[0] < p[1] for p, r in spans)


def size_of(box: Box, shape: tuple[int, ...]) -> int:
    """Return how many levels a box has in a value of ``shape``, frames included."""
    size = shape[0]
    for part, length in zip(box, shape[1:], strict=True):
        size *= len(range(*part.indices(length)))
    return size


def _box(shape: tuple[int, ...], channels: Range, columns: Range | None, *, last: bool) -> Box:
    parts = [slice(None)] * len(shape)
    if parts:
        parts[-1 if last else 0] = slice(*_clipped(channels, shape[-1 if last else 0]))
    if columns is not None:
        parts[_COLUMNS] = slice(*_clipped(columns, shape[_COLUMNS]))
    return tuple(parts)


def _clipped(part: Range, size: int) -> Range:
    start, stop = (min(max(end, 0), size) for end in part)
    return start, max(start, stop)


def _moved(part: Range, by: int) -> Range:
    return part[0] + by, part[1] + by


def _whole(layer: Layer, processor: NeuralProcessor) -> bool:
    return processor.columns == (0, layer.columns.outputs)


def _read_columns(node: Node, layer: Layer, processor: NeuralProcessor) -> Range | None:
    """Return the columns that a tile's windows span; None where the layer is not tiled."""
    if _whole(layer, processor):
        return None
    first, last = processor.columns[0], processor.columns[1] - 1
    if isinstance(node, (q.QConv, q.QMaxPool, q.QAveragePool)):
        dilation = 1 if isinstance(node, q.QAveragePool) else node.dilation[1]
        stride, pad = node.stride[1], node.pads[1]
        return first * stride - pad, last * stride + dilation * (node.kernel[1] - 1) - pad + 1
    if isinstance(node, q.QConvTranspose):
        stride, pad = node.stride[1], node.pads[1]
        reach = node.dilation[1] * (node.kernel[1] - 1)
        return -(-(first + pad - reach) // stride), (last + pad) // stride + 1
    return processor.columns
