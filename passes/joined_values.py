"""Find values whose channels must be rescaled together, and what writes and reads them.

Layers write a value, weighted layers read it, perhaps behind pools or flattened. What an Add sums
has one factor a channel between its operands and its sum, which a ReLU passes on: so a residual
stream is rescaled whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lowbitc.compiler.ir import ops
from lowbitc.compiler.ir.groups import CLIPS, POOLS, WEIGHTED
from lowbitc.passes.chains import Chain, by_output, find_chains

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.compiler.ir.node import Node

_FLAT = 2
"""Rank of what a dense layer reads behind a convolution."""


@dataclass(frozen=True, slots=True)
class Reader:
    """A weighted node that reads the channels, each ``repeat`` times in a row."""

    node: Node
    repeat: int


@dataclass(frozen=True, slots=True)
class Joined:
    """Values that share their factors, in order: the layers that put them out, and who reads them.

    ``readers`` and ``sums`` (the values of Adds that read a value) are by value.
    """

    chains: tuple[Chain, ...]
    readers: Mapping[str, tuple[Reader, ...]]
    sums: Mapping[str, tuple[str, ...]]

    @property
    def writers(self) -> tuple[Chain, ...]:
        """The weighted layers."""
        return tuple(c for c in self.chains if isinstance(c.compute, WEIGHTED))

    @property
    def clipped(self) -> tuple[Chain, ...]:
        """The layers with an activation, whose values are never negative."""
        return tuple(c for c in self.chains if c.activation is not None)


def find_joined(graph: Graph) -> Iterator[Joined]:
    """Yield what can be rescaled in a float graph, in order."""
    chains = by_output(find_chains(graph))
    consumers = graph.consumers()
    done: set[str] = set()
    for value in chains:
        if value not in done:
            values, joined = _Search(graph, chains, consumers).spread(value)
            done |= values
            if joined is not None:
                yield joined


class _Search:
    """One search from a value."""

    def __init__(
        self, graph: Graph, chains: Mapping[str, Chain], consumers: Mapping[str, list[Node]]
    ) -> None:
        self.graph = graph
        self.chains = chains
        self.consumers = consumers
        self.adds = {
            c.compute.name: value for value, c in chains.items() if isinstance(c.compute, ops.Add)
        }

    def spread(self, start: str) -> tuple[set[str], Joined | None]:
        """Return all values that are joined to one; nothing besides where one cannot be scaled."""
        ahead, scales = [start], True
        values: set[str] = set()
        readers: dict[str, tuple[Reader, ...]] = {}
        sums: dict[str, tuple[str, ...]] = {}
        while ahead:
            value = ahead.pop()
            if value in values:
                continue
            values.add(value)
            scales &= self._is_written(value)
            nodes = self.consumers.get(value, [])
            sums[value] = tuple(self.adds[n.name] for n in nodes if n.name in self.adds)
            others = [n for n in nodes if n.name not in self.adds]
            behind = [self._behind(node, value, 1) for node in others]
            readers[value] = tuple(reader for found in behind for reader in found)
            scales &= value not in self.graph.outputs and bool(nodes) and all(behind)
            chain = self.chains.get(value)
            ahead += sums[value]
            if chain is not None and isinstance(chain.compute, ops.Add):
                ahead += chain.compute.inputs
            # Levels of a value with a sign are not what factors are weighed by.
            scales &= chain is not None and (chain.activation is not None or not others)
        found = tuple(chain for value, chain in self.chains.items() if value in values)
        return values, Joined(found, readers, sums) if scales else None

    def _is_written(self, value: str) -> bool:
        """Whether a layer writes a value, and can write it rescaled."""
        chain = self.chains.get(value)
        if chain is None or chain.shift is not None:
            return False
        node = chain.compute
        if isinstance(node, ops.Add):
            alike = all(self.graph.shape(v) == self.graph.shape(value) for v in node.inputs)
            return alike and (chain.activation is None or isinstance(chain.activation, ops.Relu))
        clips = chain.activation is None or isinstance(chain.activation, CLIPS)
        grouped = isinstance(node, ops.ConvTranspose) and node.groups > 1
        return clips and isinstance(node, WEIGHTED) and not grouped

    def _behind(self, node: Node, value: str, repeat: int) -> tuple[Reader, ...]:
        """Return the weighted nodes behind a node that reads a value; () where anything else is."""
        graph = self.graph
        if node.name in graph.host_reasons:
            return ()
        if isinstance(node, WEIGHTED) and node.inputs[0] == value:
            whole = not isinstance(node, ops.Dense) or len(graph.shape(value)) == _FLAT
            return (Reader(node, repeat),) if whole else ()
        following = node.outputs[0]
        if isinstance(node, (ops.Reshape, ops.Flatten)):
            before, after = graph.shape(value), graph.shape(following)
            if before[0] != after[0] or len(after) != _FLAT:
                return ()
            repeat *= after[1] // before[1]
        elif not isinstance(node, POOLS):
            return ()
        nodes = self.consumers.get(following, [])
        behind = [self._behind(n, following, repeat) for n in nodes]
        kept = following not in graph.outputs and all(behind)
        return tuple(reader for found in behind for reader in found) if kept else ()
