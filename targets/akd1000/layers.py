"""What the chip takes nodes of the float graph for: the input layer, halves of separable layers."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lowbitc.compiler.ir import ops
from lowbitc.compiler.ir.first_layers import first_layers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.compiler.ir.node import Node

IMAGE_CHANNELS = (1, 3)
_PLANE = 4


@dataclass(frozen=True, slots=True)
class Wiring:
    """Who makes and reads each value, and what follows from that alone.

    ``input_layer`` is what the input unit runs: the first convolution of an image of 1 or 3
    channels that no layer with weights comes before.
    """

    makers: Mapping[str, Node]
    readers: Mapping[str, list[Node]]
    outputs: frozenset[str]
    input_layer: str

    def maker(self, value: str) -> Node | None:
        """Return what makes a value that nothing else reads."""
        alone = len(self.readers.get(value, ())) == 1 and value not in self.outputs
        return self.makers.get(value) if alone else None

    def reader(self, value: str) -> Node | None:
        """Return the only reader of a value."""
        found = self.readers.get(value, ())
        return found[0] if len(found) == 1 and value not in self.outputs else None

    def pointwise_behind(self, node: ops.Conv) -> ops.Conv | None:
        """Return the 1x1 convolution that alone reads a convolution, directly."""
        after = self.reader(node.outputs[0])
        if not isinstance(after, ops.Conv) or after.groups > 1:
            return None
        return after if {*after.kernel, *after.stride} == {1} else None

    def depthwise_before(self, node: ops.Conv) -> ops.Conv | None:
        """Return the depthwise convolution that makes a separable layer with this one."""
        before = self.maker(node.inputs[0])
        if not isinstance(before, ops.Conv) or before.groups == 1:
            return None
        return before if self.pointwise_behind(before) is node else None


def wiring(graph: Graph) -> Wiring:
    """Return the wiring of a graph; made once, however often it is asked for."""
    return _wiring(_Held(graph))


class _Held:
    """A graph as a key: equal where nodes, constants and outputs are the same objects."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.key = (id(graph.nodes), id(graph.types), graph.outputs)

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Held) and other.key == self.key


@functools.lru_cache(maxsize=4)
def _wiring(held: _Held) -> Wiring:
    graph = held.graph
    first = first_layers(graph)
    return Wiring(
        graph.producers(),
        graph.consumers(),
        frozenset(graph.outputs),
        next((n.name for n in graph.nodes if n.name in first and _reads_image(graph, n)), ""),
    )


def _reads_image(graph: Graph, node: Node) -> bool:
    shape = graph.shape(node.inputs[0])
    plane = len(shape) == _PLANE and shape[1] in IMAGE_CHANNELS
    return plane and isinstance(node, ops.Conv) and node.groups == 1
