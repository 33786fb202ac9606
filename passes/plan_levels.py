"""Which values hold levels, which of them share one scale, and of how many bits they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lowbitc.compiler.elements import LevelType, signed, unsigned
from lowbitc.compiler.ir import ops
from lowbitc.compiler.ir.first_layers import first_layers
from lowbitc.compiler.ir.groups import AVERAGES, CLIPS, KEEPS_LEVELS, POSITIVE, TABLES, WEIGHTED
from lowbitc.passes.chains import Chain, channels_of, clip_bounds, find_chains, on_device

if TYPE_CHECKING:
    from lowbitc.compiler.bits import Bits
    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.compiler.ir.node import Node

CLIP_METHODS = ("mse", "octav", "percentile", "minmax")
"""How the scale of a group can be chosen; calibrate_pact does it."""
_FULL = 8


@dataclass(frozen=True, slots=True)
class Group:
    """Values that share levels and a scale.

    ``limit`` is the largest value that a clip lets through, where one does (ReLU6's 6).
    ``measured`` says that the sign is to be decided by the data.
    """

    values: tuple[str, ...]
    element: LevelType
    limit: float
    measured: bool


def plan_levels(graph: Graph, bits: Bits) -> tuple[Group, ...]:
    """Return the groups of all values that the chip reads or makes, in order of the graph."""
    return _Planner(graph, bits).plan()


def leaves_as_sums(graph: Graph, chain: Chain) -> bool:
    """Whether a layer's int32 sums go to the CPU as they are: no clip, and no reader on the chip.

    Such outputs (logits, say) keep all their resolution.
    """
    weighted = isinstance(chain.compute, WEIGHTED)
    if not weighted or chain.activation is not None or chain.shift is not None:
        return False
    readers = graph.consumers().get(chain.output, [])
    return all(reader.name in graph.host_reasons for reader in readers)


class _Planner:
    """Union-find over values, and each group's element type."""

    def __init__(self, graph: Graph, bits: Bits) -> None:
        self.graph = graph
        self.bits = bits
        self.parent: dict[str, str] = {}
        self.element: dict[str, LevelType] = {}
        self.limit: dict[str, float] = {}
        self.measured: set[str] = set()

    def root(self, value: str) -> str:
        while self.parent[value] != value:
            value = self.parent[value]
        return value

    def plan(self) -> tuple[Group, ...]:
        chains = {c.compute.name: c for c in find_chains(self.graph)}
        inner = {n.name for c in chains.values() for n in c.nodes[1:]}
        first = first_layers(self.graph)
        for node in on_device(self.graph):
            if node.name in inner:
                continue
            for value in node.inputs:
                if value and value not in self.graph.constants and value not in self.parent:
                    width = _FULL if node.name in first else self.bits.unclipped
                    self.add(value, unsigned(width), measured=width == _FULL)
            chain = chains.get(node.name)
            if chain is not None:
                self.layer(chain)
            elif isinstance(node, KEEPS_LEVELS):
                self.tie(node)
            elif isinstance(node, ops.Concat):
                self.join(node)
            else:
                self.single(node)
        members: dict[str, list[str]] = {}
        for value in self.parent:
            members.setdefault(self.root(value), []).append(value)
        return tuple(
            Group(tuple(held), self.element[root], self.limit[root], root in self.measured)
            for root, held in members.items()
        )

    def add(
        self, value: str, element: LevelType, limit: float = np.inf, *, measured: bool = False
    ) -> None:
        self.parent[value] = value
        self.element[value] = element
        self.limit[value] = limit
        if measured:
            self.measured.add(value)

    def tie(self, node: Node) -> None:
        self.parent[node.outputs[0]] = self.root(node.inputs[0])

    def join(self, node: Node) -> None:
        """Concat: one group where all inputs have one element type, else a group of its own."""
        roots = list(dict.fromkeys(self.root(v) for v in node.inputs))
        elements = {self.element[r] for r in roots}
        output = node.outputs[0]
        unknown = [r in self.measured for r in roots]
        if len(elements) > 1 or (any(unknown) and not all(unknown)):
            width = max(e.bits for e in elements)
            below = any(e.signed for e in elements) or any(unknown)
            self.add(output, signed(_FULL) if below else unsigned(width))
            return
        first = roots[0]
        self.parent[output] = first
        for other in roots[1:]:
            self.parent[other] = first
            self.limit[first] = max(self.limit[first], self.limit[other])

    def single(self, node: Node) -> None:
        """Plan an activation that stands alone: a table on levels."""
        low = self.lowest(node)
        width = self.bits.activation_bits(node) if isinstance(node, CLIPS) else _FULL
        element = unsigned(width) if low >= 0 else signed(_FULL)
        high = node.high if isinstance(node, ops.Clamp) else np.inf
        self.add(node.outputs[0], element, high)

    def lowest(self, node: Node) -> float:
        if isinstance(node, POSITIVE):
            return 0.0
        return node.low if isinstance(node, ops.Clamp) else -np.inf

    def layer(self, chain: Chain) -> None:
        compute, clip = chain.compute, chain.activation
        width = self.bits.activation_bits(compute)
        if isinstance(clip, TABLES):
            self.add(compute.outputs[0], signed(_FULL))
            self.add(chain.output, unsigned(_FULL) if self.lowest(clip) >= 0 else signed(_FULL))
            return
        channels = channels_of(self.graph, compute)
        low, high = clip_bounds(self.graph, clip, channels)
        if chain.shift is not None:
            scale, shift = (
                np.asarray(self.graph.constants[v], np.float64) for v in chain.shift.inputs[1:]
            )
            low, high = scale * low + shift, scale * high + shift
            element = unsigned(_FULL) if np.all(low >= 0) else signed(_FULL)
        elif clip is not None and np.all(low >= 0):
            element = unsigned(width)
        elif clip is None and self._inherits_sign(compute):
            element = unsigned(self.bits.unclipped)
        else:
            element = signed(_FULL)
        self.add(chain.output, element, float(np.max(high)))

    def _inherits_sign(self, node: Node) -> bool:
        """Whether a mean or a sum of values that are never negative is never negative."""
        if not isinstance(node, (*AVERAGES, ops.Add)):
            return False
        roots = [self.root(v) for v in node.inputs if v not in self.graph.constants]
        return all(not self.element[r].signed and r not in self.measured for r in roots)
