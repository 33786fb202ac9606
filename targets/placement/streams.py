"""How long levels wait where branches of a network meet.

Layers run at once, row by row. Row r of a value is there when row rate · r + delay of the
launch's input has come in (both are rows of that input, and may be fractions). Where two branches
join, the rows of the earlier one wait for the later one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lowbitc.compiler.ir.quantized import (
    QAdd,
    QAveragePool,
    QConcat,
    QConv,
    QConvTranspose,
    QDense,
    QMaxPool,
    QPad,
    QReshape,
    QSlice,
    QTranspose,
    QUpsample,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.compiler.ir.node import Node

_SPATIAL = 2
_WHOLE = (QDense, QTranspose, QReshape, QSlice)
"""Operators of which the first output may need the last input."""


@dataclass(frozen=True, slots=True)
class Stream:
    """When row r of a value is there: rate · r + delay."""

    rate: float = 1.0
    delay: float = 0.0


def held_rows(graph: Graph, nodes: Iterable[Node]) -> dict[str, int]:
    """Return, for each Add and Concat, the rows that its earliest operand waits for the latest.

    At least 1: the row that is being read.
    """
    streams: dict[str, Stream] = {}
    held: dict[str, int] = {}
    for node in nodes:
        data = [v for v in node.inputs if v and v not in graph.constants]
        inputs = [streams.get(v, Stream()) for v in data]
        if isinstance(node, (QAdd, QConcat)):
            delays = [s.delay for s in inputs]
            rate = max(s.rate for s in inputs)
            waiting = math.ceil((max(delays) - min(delays)) / rate) + 1
            held[node.name] = min(waiting, _rows(graph, node.outputs[0]))
            found = Stream(rate, max(delays))
        else:
            found = _after(node, graph, inputs[0] if inputs else Stream())
        streams.update(dict.fromkeys(node.outputs, found))
    return held


def _rows(graph: Graph, value: str) -> int:
    shape = graph.shape(value)
    return shape[_SPATIAL] if len(shape) > _SPATIAL else 1


def _after(node: Node, graph: Graph, x: Stream) -> Stream:
    """Return the stream of an output, given that of the input."""
    if isinstance(node, (QConv, QMaxPool, QAveragePool)):
        dilation = 1 if isinstance(node, QAveragePool) else node.dilation[0]
        reach = dilation * (node.kernel[0] - 1)
        first = max(reach - node.pads[0], 0)
        return Stream(x.rate * node.stride[0], x.delay + x.rate * first)
    if isinstance(node, QConvTranspose):
        first = -(-node.pads[0] // node.stride[0])
        return Stream(x.rate / node.stride[0], x.delay + x.rate * first)
    if isinstance(node, QUpsample) and len(node.factors) > _SPATIAL:
        return Stream(x.rate / node.factors[_SPATIAL], x.delay)
    if isinstance(node, QPad) and len(node.pads) > 2 * _SPATIAL:
        return Stream(x.rate, max(x.delay - x.rate * node.pads[_SPATIAL], 0.0))
    if isinstance(node, _WHOLE):
        # Flattening and dense layers wait for everything.
        rows = _rows(graph, node.inputs[0])
        after = max(_rows(graph, node.outputs[0]), 1)
        return Stream(x.rate * rows / after, x.delay + x.rate * (rows - 1))
    return x
