"""Layers as the chip sees them: a node that computes, and what its output stage absorbs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lowbitc.compiler.ir import ops
from lowbitc.compiler.ir.graph import reads
from lowbitc.compiler.ir.groups import CLIPS, SUMMING, TABLES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lowbitc.compiler.diagnostics import Source
    from lowbitc.compiler.elements import Float64
    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.compiler.ir.node import Node


@dataclass(frozen=True, slots=True)
class Chain:
    """A layer: ``compute``, then perhaps an activation, then perhaps a ScaleShift."""

    compute: Node
    activation: Node | None = None
    shift: ops.ScaleShift | None = None

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The layer's nodes in order."""
        return tuple(n for n in (self.compute, self.activation, self.shift) if n is not None)

    @property
    def output(self) -> str:
        """The value that the layer puts out."""
        return self.nodes[-1].outputs[0]

    @property
    def sources(self) -> tuple[Source, ...]:
        """All ONNX nodes that the layer came from."""
        return tuple(dict.fromkeys(s for node in self.nodes for s in node.sources))

    @property
    def table(self) -> Node | None:
        """The activation when it needs a table."""
        return self.activation if isinstance(self.activation, TABLES) else None


def on_device(graph: Graph) -> tuple[Node, ...]:
    """Return the nodes that run on the chip."""
    return tuple(n for n in graph.nodes if n.name not in graph.host_reasons)


def leaving_values(graph: Graph) -> tuple[str, ...]:
    """Return the values that leave the chip: what the CPU reads of it, and outputs."""
    host = {v for n in graph.nodes if n.name in graph.host_reasons for v in reads(n)}
    made = [v for node in on_device(graph) for v in node.outputs]
    return tuple(v for v in made if v in host or v in graph.outputs)


def find_chains(graph: Graph) -> Iterator[Chain]:
    """Yield the chip's layers in order: every SUMMING node and every Add, with what follows."""
    readers = graph.consumers()
    device = {n.name for n in on_device(graph)}

    def following(node: Node, kinds: tuple[type[Node], ...]) -> Node | None:
        after = graph.sole_consumer(node.outputs[0], readers)
        return after if isinstance(after, kinds) and after.name in device else None

    for node in graph.nodes:
        if node.name not in device or not isinstance(node, (*SUMMING, ops.Add)):
            continue
        absorbs = CLIPS if isinstance(node, ops.Add) else (*CLIPS, *TABLES)
        activation = following(node, absorbs)
        last = activation or node
        shift = None
        if not isinstance(node, ops.Add) and not isinstance(activation, TABLES):
            found = following(last, (ops.ScaleShift,))
            shift = found if isinstance(found, ops.ScaleShift) else None
        yield Chain(node, activation, shift)


def channels_of(graph: Graph, node: Node) -> int:
    """Return the number of output channels of a node that sums."""
    shape = graph.shape(node.outputs[0])
    return shape[-1] if isinstance(node, ops.Dense) else shape[1]


def clip_bounds(graph: Graph, activation: Node | None, channels: int) -> tuple[Float64, Float64]:
    """Return, by channel, the bounds of a clip in real values; infinite where there is none."""
    low, high = -np.inf, np.inf
    if isinstance(activation, ops.Relu):
        low = 0.0
    elif isinstance(activation, ops.Clamp):
        low, high = activation.low, activation.high
    elif isinstance(activation, ops.Bound):
        return (
            np.asarray(graph.constants[activation.inputs[1]], np.float64),
            np.asarray(graph.constants[activation.inputs[2]], np.float64),
        )
    return np.full(channels, low), np.full(channels, high)


def by_output(chains: Iterator[Chain]) -> Mapping[str, Chain]:
    """Map the value that each layer puts out to the layer."""
    return {chain.output: chain for chain in chains}
