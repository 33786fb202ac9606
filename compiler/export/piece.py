"""Assemble an ONNX model from nodes of a graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnx import ModelProto, OperatorSetIdProto

from lowbitc.compiler.export import activations, host, shapes
from lowbitc.compiler.export.levels import float_constants
from lowbitc.compiler.export.operators import write
from lowbitc.compiler.export.opsets import choose_opset, ir_version, is_onnx, operators
from lowbitc.compiler.export.samples import free_rows, samples_stay_apart
from lowbitc.compiler.export.writer import Writer, sparse_proto, tensor_proto
from lowbitc.compiler.ir import ops
from lowbitc.compiler.ir.graph import reads
from lowbitc.compiler.onnx_types import value_info

if TYPE_CHECKING:
    from lowbitc.compiler.elements import Array
    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.compiler.ir.node import Node

WRITERS = (activations, host, shapes)
"""Their operators register themselves in ``write`` when they are imported."""
PRODUCER = "lowbitc"
PRODUCER_VERSION = "1"
"""Stays as it is while the same graph gives the same bytes."""
_SPARSE_BYTES = 4096
"""Constants from this size on may be stored sparse; shapes and the like stay as they are."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Nodes of a graph that become one model, and the values at its borders."""

    graph: Graph
    nodes: tuple[Node, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Assembled:
    """A model without its constants, and these by name."""

    model: ModelProto
    constants: dict[str, Array]

    @property
    def constants_bytes(self) -> int:
        """How large the constants are together."""
        return sum(array.nbytes for array in self.constants.values())

    def whole(self) -> ModelProto:
        """Return the model with its constants; protobuf holds at most 2 GiB.

        Large ones that are nearly all zero are stored sparse.
        """
        graph = self.model.graph
        for name, array in self.constants.items():
            sparse = sparse_proto(name, array) if array.nbytes >= _SPARSE_BYTES else None
            if sparse is not None:
                graph.sparse_initializer.append(sparse)
            else:
                graph.initializer.append(tensor_proto(name, array))
        return self.model


def assemble(piece: Piece, opset: int | None = None) -> Assembled:
    """Write a piece at ``opset``, or at the graph's own.

    Dimension 0 of inputs and outputs is free where the piece may run on several samples at once.
    """
    graph = piece.graph
    opset = choose_opset(graph, piece.nodes, opset)
    read = {v for node in piece.nodes for v in reads(node)} | set(piece.outputs)
    arrays = float_constants(graph, (v for v in graph.constants if v in read))
    writer = Writer(graph, opset, arrays)
    for node in piece.nodes:
        write(node, writer)
    opsets = {"": opset, **_other_domains(piece)}
    model = ModelProto(
        ir_version=ir_version(opsets), producer_name=PRODUCER, producer_version=PRODUCER_VERSION
    )
    for domain, version in opsets.items():
        model.opset_import.append(OperatorSetIdProto(domain=domain, version=version))
    model.graph.name = graph.name or "graph"
    model.graph.node.extend(writer.nodes)
    apart = samples_stay_apart(graph, piece.nodes, piece.inputs)
    for values, into in ((piece.inputs, model.graph.input), (piece.outputs, model.graph.output)):
        for value in values:
            free = free_rows(graph, value) if apart and value not in graph.constants else ""
            into.append(value_info(value, graph.types.get(value), free))
    # A weight that was written transposed, say, is not used any more.
    used = {v for proto in writer.nodes for v in proto.input} | set(piece.outputs)
    used.update(v for node in piece.nodes if isinstance(node, ops.HostOp) for v in node.captures)
    kept = {name: array for name, array in arrays.items() if name in used}
    return Assembled(model, {**kept, **writer.made})


def _other_domains(piece: Piece) -> dict[str, int]:
    """Return the operator sets beside ONNX's that host operators of a piece use, sorted."""
    versions = dict(piece.graph.domains)
    used = {
        domain
        for node in piece.nodes
        if isinstance(node, ops.HostOp)
        for domain, _ in operators(node)
        if not is_onnx(domain)
    }
    return {domain: versions.get(domain, 1) for domain in sorted(used)}
