"""Count the work of float nodes: multiply-accumulates and parameters, the same for all who ask."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from lowbitc.compiler.ir import ops
from lowbitc.compiler.ir.graph import reads

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lowbitc.compiler.elements import Array
    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.compiler.ir.node import Node

RECURRENT = frozenset({"LSTM", "GRU", "RNN"})
"""ONNX's recurrent layers: inputs x [T, N, I], W [D, M, I], R [D, M, H]."""
_TENSORS = 3
_WEIGHTS = 2


def is_recurrent(node: Node) -> bool:
    """Whether a node is an LSTM, GRU or RNN of ONNX."""
    return (
        isinstance(node, ops.HostOp)
        and node.domain in {"", "ai.onnx"}
        and node.op_type in RECURRENT
    )


def identity(directions: int, size: int) -> Array:
    """Return the W [D, M, D · M] that hands each direction its own part of the input."""
    width = directions * size
    return np.eye(width, dtype=np.float32).reshape(directions, size, width)


def is_identity(weights: Array | None) -> bool:
    """Whether W only hands on what was projected before: no work, and no parameters."""
    if weights is None or weights.ndim != _TENSORS:
        return False
    directions, size, width = weights.shape
    return width == directions * size and bool(np.array_equal(weights, identity(directions, size)))


def node_macs(node: Node, graph: Graph) -> int:
    """Return the multiply-accumulates of a float node for one sample; 0 for what has none."""
    shapes = [graph.shape(value) for value in node.inputs]
    made = math.prod(graph.shape(node.outputs[0])) if node.outputs else 0
    match node:
        case ops.Conv() | ops.Dense():
            return made * math.prod(shapes[1][1:])
        case ops.ConvTranspose():
            return math.prod(shapes[0]) * math.prod(shapes[1][1:])
        case ops.MatMul() if shapes[0]:
            return made * shapes[0][-1]
        case ops.Gemm() if shapes[0]:
            return made * shapes[0][0 if node.trans_a else -1]
        case ops.HostOp() if is_recurrent(node) and len(shapes) > _WEIGHTS and shapes[0]:
            steps = math.prod(shapes[0][:2])
            hands_on = is_identity(graph.constants.get(node.inputs[1]))
            return steps * (math.prod(shapes[2]) + math.prod(shapes[1]) * (not hands_on))
        case _:
            return 0


def held_params(nodes: Iterable[Node], graph: Graph) -> int:
    """Return the number of parameters of nodes; what several share counts once.

    The identity that a recurrent layer reads its projections through is none of the model's.
    """
    held: dict[str, int] = {}
    for node in nodes:
        for value in reads(node):
            array = graph.constants.get(value)
            if array is not None and not (is_recurrent(node) and is_identity(array)):
                held[value] = array.size
    return sum(held.values())
