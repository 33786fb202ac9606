"""Write host operators: their own ONNX nodes, with the values that passes rewired."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx import AttributeProto, GraphProto, NodeProto

from lowbitc.compiler.diagnostics import InternalError
from lowbitc.compiler.export.operators import write
from lowbitc.compiler.ir import ops

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lowbitc.compiler.export.writer import Writer


@write.register(ops.HostOp)
def _host_op(node: ops.HostOp, to: Writer) -> None:
    proto = NodeProto.FromString(node.proto)
    found = captures(proto)
    if set(found) != set(node.captures):
        if len(found) != len(node.captures):
            message = f"{node.name} captures {node.captures}, but its subgraphs read {found}"
            raise InternalError(message)
        renamed = dict(zip(found, node.captures, strict=True))
        for inner in _subgraphs(proto):
            _rename(inner, renamed)
    for inner in _subgraphs(proto):
        _strip_notes(inner)
    del proto.input[:], proto.output[:]
    proto.input.extend(node.inputs)
    proto.output.extend(node.outputs)
    proto.name = node.name
    proto.ClearField("doc_string")
    proto.ClearField("metadata_props")
    to.nodes.append(proto)


def captures(proto: NodeProto) -> tuple[str, ...]:
    """Return the outer values that the subgraphs of a node read, in order of first use.

    HostOp.captures has this order: by it a value that a pass put in another's place is found.
    """
    found: dict[str, None] = {}
    for inner in _subgraphs(proto):
        found.update(dict.fromkeys(_outer_reads(inner, frozenset())))
    return tuple(found)


def _subgraphs(proto: NodeProto) -> Iterator[GraphProto]:
    for attribute in proto.attribute:
        if attribute.type == AttributeProto.GRAPH:
            yield attribute.g
        yield from attribute.graphs


def _own_values(graph: GraphProto) -> frozenset[str]:
    names = {v.name for v in graph.input} | {v.name for v in graph.initializer}
    names |= {v.values.name for v in graph.sparse_initializer}
    return frozenset(names | {v for node in graph.node for v in node.output})


def _outer_reads(graph: GraphProto, inner: frozenset[str]) -> Iterator[str]:
    inner |= _own_values(graph)
    for node in graph.node:
        yield from (v for v in node.input if v and v not in inner)
        for child in _subgraphs(node):
            yield from _outer_reads(child, inner)
    yield from (v.name for v in graph.output if v.name not in inner)


def _rename(graph: GraphProto, renamed: dict[str, str]) -> None:
    own = _own_values(graph)
    if clash := own.intersection(renamed.values()):
        message = f"the subgraph {graph.name} has values {sorted(clash)} of its own"
        raise InternalError(message)
    renamed = {k: v for k, v in renamed.items() if k not in own}
    for node in graph.node:
        for place, value in enumerate(node.input):
            node.input[place] = renamed.get(value, value)
        for child in _subgraphs(node):
            _rename(child, renamed)
    for output in graph.output:
        output.name = renamed.get(output.name, output.name)


def _strip_notes(graph: GraphProto) -> None:
    """Drop what exporters write for people: stack traces differ from machine to machine."""
    graph.ClearField("doc_string")
    graph.ClearField("metadata_props")
    for node in graph.node:
        node.ClearField("doc_string")
        node.ClearField("metadata_props")
        for child in _subgraphs(node):
            _strip_notes(child)
