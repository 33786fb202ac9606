"""Write a whole float graph to ONNX."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lowbitc.compiler.export.piece import Assembled, Piece, assemble

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onnx import ModelProto

    from lowbitc.compiler.ir.graph import Graph


def assemble_graph(
    graph: Graph, *, fetch: Sequence[str] = (), opset: int | None = None
) -> Assembled:
    """Write a graph with the values of ``fetch`` as further outputs."""
    outputs = tuple(dict.fromkeys((*graph.outputs, *fetch)))
    return assemble(Piece(graph, graph.nodes, graph.inputs, outputs), opset)


def export_model(graph: Graph, *, opset: int | None = None) -> ModelProto:
    """Write a float graph to ONNX at ``opset``, or at the graph's own.

    Weight levels are written as the float values that they stand for. Raises CompileError LB190
    where a host operator has another meaning at ``opset``, InternalError for integer operators.
    """
    return assemble_graph(graph, opset=opset).whole()
