"""Rules that every chip has: what a tensor, a layer and a weight must be to be placed at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lowbitc.compiler.elements import F32, LevelType
from lowbitc.compiler.ir import ops
from lowbitc.compiler.ir.graph import Graph, reads
from lowbitc.compiler.ir.groups import ACTIVATIONS, MOVES, POOLS, PRODUCTS, WEIGHTED
from lowbitc.compiler.ir.types import OpaqueType
from lowbitc.targets.spec import ANY, Rule

if TYPE_CHECKING:
    from lowbitc.compiler.ir.node import Node

_RANKS = (2, 6)


def _tensors(graph: Graph, node: Node) -> str:
    for value in (*reads(node), *node.outputs):
        held = graph.types.get(value)
        if isinstance(held, OpaqueType):
            return f"{value} is no tensor"
        if held is None or not held.known:
            return f"the shape of {value} depends on the data"
        if 0 in held.dims:
            return f"{value} has no elements: shape {list(held.dims)}"
    return ""


def _floats(graph: Graph, node: Node) -> str:
    for value in (*reads(node), *node.outputs):
        element = graph.tensor(value).element
        if element != F32 and not isinstance(element, LevelType):
            return f"{value} is {element.name}"
    return ""


def _frames_first(graph: Graph, node: Node) -> str:
    for value in (*data_inputs(graph, node), *node.outputs):
        if not _RANKS[0] <= len(graph.shape(value)) <= _RANKS[1]:
            return f"{value} has {len(graph.shape(value))} dimensions"
    return ""


def data_inputs(graph: Graph, node: Node) -> tuple[str, ...]:
    """Return the inputs that are no constants."""
    return tuple(v for v in reads(node) if v not in graph.constants)


def _constant_weights(graph: Graph, node: Node) -> str:
    computed = [v for v in node.inputs[1:] if v and v not in graph.constants]
    return f"{computed[0]} is computed" if computed else ""


def _finite_weights(graph: Graph, node: Node) -> str:
    for value in node.inputs[1:]:
        array = graph.constants.get(value)
        # A finite sum has finite terms; only where it is not need every one be looked at.
        if array is None or np.isfinite(array.sum(dtype=np.float64)):
            continue
        if not np.isfinite(np.asarray(array, np.float64)).all():
            return f"{value} holds NaN or infinities"
    return ""


def _computed_input(graph: Graph, node: Node) -> str:
    return "" if node.inputs[0] not in graph.constants else f"{node.inputs[0]} is a constant"


def _not_frames(graph: Graph, node: Node) -> str:
    """Refuse layout changes that touch the first dimension, which counts frames."""
    x, y = graph.shape(node.inputs[0]), graph.shape(node.outputs[0])
    touched = x[:1] != y[:1]
    if isinstance(node, ops.Concat):
        touched = node.axis == 0
    elif isinstance(node, ops.Transpose):
        touched = node.perm[0] != 0
    elif isinstance(node, ops.Slice):
        touched = 0 in node.axes
    return f"shapes {list(x)} to {list(y)}" if touched else ""


def _constant_matrix(graph: Graph, node: Node) -> str:
    """Refuse what canonical form has not made a Dense: always, since nothing else is left."""
    computed = [v for v in node.inputs[:2] if v not in graph.constants]
    if len(computed) > 1 or node.inputs[0] in graph.constants:
        return f"{computed[-1]} is computed" if computed else "two constants"
    return f"{node.inputs[1]} of shape {list(graph.shape(node.inputs[1]))}"


_CPU = "it runs on the CPU"
_EXPORT = "export the model with fixed shapes, or give them with --shape"


GENERAL: tuple[Rule, ...] = (
    Rule("LB201", "Shapes are fixed when the program is compiled", _EXPORT, (ANY,), _tensors),
    Rule("LB202", "Values are float32 before quantization", _CPU, (ANY,), _floats),
    Rule(
        "LB203",
        "Values have 2 to 6 dimensions, frames first",
        "reshape the value to frames x features",
        (ANY,),
        _frames_first,
    ),
    Rule(
        "LB210",
        "Weights and biases are constants of the model",
        "products of two activations run on the CPU",
        tuple(k.op for k in WEIGHTED),
        _constant_weights,
    ),
    Rule(
        "LB210",
        "The right side of a product is a constant matrix",
        "products of two activations run on the CPU",
        tuple(k.op for k in PRODUCTS),
        _constant_matrix,
    ),
    Rule(
        "LB211",
        "Weights and biases are finite",
        "look at the training run: the model holds NaN or infinities",
        tuple(k.op for k in WEIGHTED),
        _finite_weights,
    ),
    Rule(
        "LB212",
        "The input of a layer is an activation",
        "what depends on constants only is best computed before export",
        tuple(k.op for k in (*WEIGHTED, *POOLS, *ACTIVATIONS, *MOVES, ops.ScaleShift)),
        _computed_input,
    ),
)
"""Of all layers, in the order in which they are reported."""

FRAMES_FIRST = Rule(
    "LB240",
    "Changes of layout leave the first dimension, which counts frames, as it is",
    _CPU,
    tuple(k.op for k in (*MOVES, ops.Concat)),
    _not_frames,
)
