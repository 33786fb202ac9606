"""Write host operators: their own ONNX nodes, with the values that passes rewired."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx import GraphProto, NodeProto

from lowbitc.compiler.diagnostics import InternalError
from lowbitc.compiler.export.operators import write
from lowbitc.compiler.ir import ops
from lowbitc.compiler.onnx_subgraphs import captures, own_values, subgraphs

if TYPE_CHECKING:
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
        for inner in subgraphs(proto):
            _rename(inner, renamed)
    for inner in subgraphs(proto):
        _strip_notes(inner)
    del proto.input[:], proto.output[:]
    proto.input.extend(node.inputs)
    proto.output.extend(node.outputs)
    proto.name = node.name
    proto.ClearField("doc_string")
    proto.ClearField("metadata_props")
    to.nodes.append(proto)


def _rename(graph: GraphProto, renamed: dict[str, str]) -> None:
    own = own_values(graph)
    if clash := own.intersection(renamed.values()):
        message = f"the subgraph {graph.name} has values {sorted(clash)} of its own"
        raise InternalError(message)
    renamed = {k: v for k, v in renamed.items() if k not in own}
    for node in graph.node:
        for place, value in enumerate(node.input):
            node.input[place] = renamed.get(value, value)
        for child in subgraphs(node):
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
        for child in subgraphs(node):
            _strip_notes(child)
