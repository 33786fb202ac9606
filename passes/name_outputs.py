"""Tell what the outputs of a network hold: scores of classes, or values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lowbitc.compiler.ir import ops
from lowbitc.compiler.ir.groups import LAYOUT, PRODUCTS
from lowbitc.compiler.statistics.output_change import OutputKind

if TYPE_CHECKING:
    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.compiler.ir.node import Node

_KEEPS_AXIS = (ops.Add, ops.Sub, ops.ScaleShift, ops.Identity)
_MOST_STEPS = 8


def output_kind(graph: Graph, value: str) -> OutputKind:
    """Tell what one output holds.

    Scores are what a Softmax makes, or what a matrix product makes over the last axis, unless it
    is as long as an input's (an autoencoder). All else, such as boxes or sigmoids, is values.
    """
    makers = graph.producers()
    rank = len(graph.shape(value))
    node = makers.get(value)
    if isinstance(node, ops.Softmax) and not node.coerce:
        return OutputKind(node.axis % rank - rank, normalised=True)
    for _ in range(_MOST_STEPS):
        if isinstance(node, (*PRODUCTS, ops.Dense)):
            classes = graph.shape(value)[-1:]
            mirrored = any(graph.shape(v)[-1:] == classes for v in graph.inputs)
            several = rank > 1 and classes > (1,)
            return OutputKind(-1) if several and not mirrored else OutputKind()
        node = makers.get(_followed(graph, node)) if node is not None else None
    return OutputKind()


def _followed(graph: Graph, node: Node) -> str:
    """Return the one computed value that a node passes on with its last axis; "" else."""
    computed = [v for v in node.inputs if v and v not in graph.constants]
    if not isinstance(node, (*_KEEPS_AXIS, *LAYOUT)) or len(computed) != 1:
        return ""
    before, after = (graph.shape(v)[-1:] for v in (computed[0], node.outputs[0]))
    return computed[0] if before == after else ""
