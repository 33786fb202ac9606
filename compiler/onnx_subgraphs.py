"""Subgraphs of ONNX nodes, and what they read from outside."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx import AttributeProto

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onnx import GraphProto, NodeProto


def captures(proto: NodeProto) -> tuple[str, ...]:
    """Return the outer values that the subgraphs of a node read, in order of first use.

    HostOp.captures has this order: by it a value that a pass put in another's place is found.
    """
    found: dict[str, None] = {}
    for inner in subgraphs(proto):
        found.update(dict.fromkeys(_outer_reads(inner, frozenset())))
    return tuple(found)


def subgraphs(proto: NodeProto) -> Iterator[GraphProto]:
    """Yield the graphs among the attributes of a node."""
    for attribute in proto.attribute:
        if attribute.type == AttributeProto.GRAPH:
            yield attribute.g
        yield from attribute.graphs


def own_values(graph: GraphProto) -> frozenset[str]:
    """Return the values that a graph defines itself."""
    names = {v.name for v in graph.input} | {v.name for v in graph.initializer}
    names |= {v.values.name for v in graph.sparse_initializer}
    return frozenset(names | {v for node in graph.node for v in node.output})


def _outer_reads(graph: GraphProto, inner: frozenset[str]) -> Iterator[str]:
    inner |= own_values(graph)
    for node in graph.node:
        yield from (v for v in node.input if v and v not in inner)
        for child in subgraphs(node):
            yield from _outer_reads(child, inner)
    yield from (v.name for v in graph.output if v.name not in inner)
