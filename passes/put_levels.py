"""Put a layer's rounded weights into a graph, with the bias that was refitted to them."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from lowbitc.compiler.elements import F32
from lowbitc.compiler.ir.graph import fresh_name
from lowbitc.compiler.ir.types import TensorType

if TYPE_CHECKING:
    from lowbitc.compiler.elements import Array, Float64, LevelType
    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.compiler.ir.node import Node


@dataclasses.dataclass(frozen=True, slots=True)
class RoundedLayer:
    """Levels in the layout of a node's weights, the value of one level [O], and the bias [O]."""

    element: LevelType
    levels: Array
    scales: Float64
    bias: Float64


def put_levels(graph: Graph, compute: Node, rounded: RoundedLayer) -> tuple[Graph, Node]:
    """Return the graph with levels in place of a node's weights, and the node as it is now."""
    weights, held = compute.inputs[1], next((v for v in compute.inputs[2:] if v), "")
    types, constants = dict(graph.types), dict(graph.constants)
    name = fresh_name(f"{weights}.levels", types)
    constants[name] = np.ascontiguousarray(rounded.levels)
    scales = tuple(float(s) for s in rounded.scales.reshape(-1))
    types[name] = TensorType(rounded.levels.shape, rounded.element, scales)
    bias = fresh_name(f"{held}.refitted" if held else f"{weights}.bias", types)
    constants[bias] = rounded.bias.reshape(-1).astype(np.float32)
    types[bias] = TensorType(constants[bias].shape, F32)
    node = dataclasses.replace(compute, inputs=(compute.inputs[0], name, bias))
    nodes = tuple(node if n.name == node.name else n for n in graph.nodes)
    return graph.replace(nodes=nodes, types=types, constants=constants), node
