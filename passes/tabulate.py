"""Tables on levels: activations that are no clip, and changes of scale."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from lowbitc.compiler.diagnostics import InternalError
from lowbitc.compiler.ir import ops
from lowbitc.compiler.ir.groups import CLIPS
from lowbitc.passes.chains import clip_bounds

if TYPE_CHECKING:
    from lowbitc.compiler.elements import Array, Float64
    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.compiler.ir.node import Node
    from lowbitc.compiler.ir.types import Clip


def activation_table(graph: Graph, node: Node, source: Clip, target: Clip) -> Array:
    """Return the target's level for each level of the source, ascending from the smallest."""
    x = (source.element.levels().astype(np.float64) - source.zero) * source.scale
    return _levels(activation_values(graph, node, x), target)


def rescale_table(source: Clip, target: Clip) -> Array:
    """Return the table that changes levels of one scale into levels of another."""
    return _levels(source.element.levels().astype(np.float64) * source.scale, target)


def _levels(values: Float64, target: Clip) -> Array:
    """Round half up, as output stages do."""
    steps = np.floor(values / target.scale + 0.5)
    clipped = np.clip(steps, target.element.minimum, target.element.maximum)
    return clipped.astype(target.element.dtype)


def activation_values(  # noqa: C901, PLR0911 - one branch a class
    graph: Graph, node: Node, x: Float64
) -> Float64:
    """Return the activation's exact values."""
    if isinstance(node, CLIPS):
        low, high = clip_bounds(graph, node, 1)
        return np.asarray(np.clip(x, low, high), np.float64)
    if isinstance(node, ops.Sigmoid):
        return _sigmoid(x)
    if isinstance(node, ops.Tanh):
        return np.tanh(x)
    if isinstance(node, ops.Silu):
        return x * _sigmoid(x)
    if isinstance(node, ops.Gelu):
        if node.tanh:
            inner = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)
            return np.asarray(x / 2 * (1 + np.tanh(inner)), np.float64)
        return x / 2 * (1 + _erf(x / math.sqrt(2)))
    if isinstance(node, ops.HardSwish):
        return np.asarray(x * np.clip(x / 6 + 0.5, 0, 1), np.float64)
    if isinstance(node, ops.HardSigmoid):
        return np.asarray(np.clip(node.alpha * x + node.beta, 0, 1), np.float64)
    if isinstance(node, ops.LeakyRelu):
        return np.where(x >= 0, x, node.alpha * x)
    if isinstance(node, ops.Elu):
        return np.where(x >= 0, x, node.alpha * np.expm1(np.minimum(x, 0)))
    if isinstance(node, ops.Softplus):
        return np.logaddexp(x, 0.0)
    if isinstance(node, ops.Erf):
        return _erf(x)
    message = f"no table for {node.op} {node.name}"
    raise InternalError(message)


def _sigmoid(x: Float64) -> Float64:
    return 1 / (1 + np.exp(-np.clip(x, -700, 700)))


def _erf(x: Float64) -> Float64:
    return np.array([math.erf(v) for v in x.reshape(-1).tolist()]).reshape(x.shape)
