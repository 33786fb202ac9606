"""Where the levels of a window's input land: for every tap, the output that a place reaches."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np

from lowbitc.compiler.ir import quantized as q

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lowbitc.compiler.elements import Int64
    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.compiler.ir.node import Node

NOWHERE = -1


@functools.singledispatch
def landings(node: Node, graph: Graph) -> tuple[Int64, ...]:
    """Return, for each spatial dimension, output [tap, place], or NOWHERE.

    Operators without a window have none.
    """
    del node, graph
    return ()


@landings.register(q.QConv)
@landings.register(q.QAveragePool)
@landings.register(q.QMaxPool)
def _window(node: q.QConv | q.QAveragePool | q.QMaxPool, graph: Graph) -> tuple[Int64, ...]:
    dilation = (1,) * len(node.kernel) if isinstance(node, q.QAveragePool) else node.dilation
    found: list[Int64] = []
    for size, outputs, kernel, stride, step, pad in _axes(node, graph, dilation):
        # Output o reads place o · stride + tap · dilation − pad.
        starts = np.arange(size, dtype=np.int64) + pad
        reached = np.subtract.outer(-np.arange(kernel, dtype=np.int64) * step, -starts)
        outside = (reached % stride != 0) | (reached < 0) | (reached >= outputs * stride)
        found.append(np.where(outside, NOWHERE, reached // stride))
    return tuple(found)


@landings.register(q.QConvTranspose)
def _spread(node: q.QConvTranspose, graph: Graph) -> tuple[Int64, ...]:
    found: list[Int64] = []
    for size, outputs, kernel, stride, step, pad in _axes(node, graph, node.dilation):
        places = np.arange(size, dtype=np.int64) * stride - pad
        reached = np.add.outer(np.arange(kernel, dtype=np.int64) * step, places)
        found.append(np.where((reached < 0) | (reached >= outputs), NOWHERE, reached))
    return tuple(found)


def _axes(
    node: q.QConv | q.QConvTranspose | q.QAveragePool | q.QMaxPool,
    graph: Graph,
    dilation: Sequence[int],
) -> zip[tuple[int, int, int, int, int, int]]:
    """Return places, outputs, kernel, stride, dilation and pad of each spatial dimension."""
    size, outputs = (graph.shape(v)[2:] for v in (node.inputs[0], node.outputs[0]))
    pads = node.pads[: len(size)]
    return zip(size, outputs, node.kernel, node.stride, dilation, pads, strict=True)
