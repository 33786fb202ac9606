"""Copy nodes of a function or a branch into the graph, under other names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx import AttributeProto, NodeProto

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from onnx import GraphProto

    Rename = Callable[[str], str]

    Given = Mapping[str, AttributeProto]


def copy_node(node: NodeProto, rename: Rename, given: Given) -> NodeProto:
    """Copy a node with its values renamed, in its subgraphs too.

    Attributes that refer to those of the function take what the call ``given``, or vanish.
    """
    copy = NodeProto()
    copy.CopyFrom(node)
    _rewrite(copy, rename, given)
    return copy


def _rewrite(node: NodeProto, rename: Rename, given: Given) -> None:
    for values in (node.input, node.output):
        for place, value in enumerate(values):
            if value:
                values[place] = rename(value)
    if any(held.ref_attr_name for held in node.attribute):
        kept = list(_resolved(node, given))
        del node.attribute[:]
        node.attribute.extend(kept)
    for held in node.attribute:
        if held.HasField("g"):
            _rewrite_graph(held.g, rename, given)
        for graph in held.graphs:
            _rewrite_graph(graph, rename, given)


def _resolved(node: NodeProto, given: Given) -> Iterator[AttributeProto]:
    for held in node.attribute:
        copy = AttributeProto()
        if not held.ref_attr_name:
            copy.CopyFrom(held)
            yield copy
        elif held.ref_attr_name in given:
            copy.CopyFrom(given[held.ref_attr_name])
            copy.name = held.name
            yield copy


def _rewrite_graph(graph: GraphProto, rename: Rename, given: Given) -> None:
    for info in (*graph.input, *graph.output, *graph.value_info):
        info.name = rename(info.name)
    for tensor in graph.initializer:
        tensor.name = rename(tensor.name)
    for sparse in graph.sparse_initializer:
        sparse.values.name = rename(sparse.values.name)
    for node in graph.node:
        _rewrite(node, rename, given)
