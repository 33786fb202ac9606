"""Write one piece of a graph, which runs on the CPU, to ONNX."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lowbitc.compiler.export.piece import Piece, assemble
from lowbitc.compiler.ir.graph import reads

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lowbitc.compiler.ir.graph import Graph


def cut_region(graph: Graph, nodes: Sequence[str]) -> Piece:
    """Return the nodes of these names with their borders.

    Inputs are values that come from outside, constants apart, in the order in which they are
    read. Outputs are values that other nodes or the graph's user read, in the order in which
    they are made.
    """
    wanted = set(nodes)
    inside = tuple(node for node in graph.nodes if node.name in wanted)
    made = [value for node in inside for value in node.outputs if value]
    own = set(made) | set(graph.constants)
    inputs = dict.fromkeys(v for node in inside for v in reads(node) if v not in own)
    read_elsewhere = set(graph.outputs)
    for node in graph.nodes:
        if node.name not in wanted:
            read_elsewhere.update(reads(node))
    return Piece(graph, inside, tuple(inputs), tuple(v for v in made if v in read_elsewhere))


def export_region(graph: Graph, nodes: Sequence[str]) -> bytes:
    """Write the nodes of these names as an ONNX model: the same bytes for the same graph.

    Constants that they read are stored in it. Where dimension 0 of the inputs is free (named
    ``samples``), the piece may run on several samples at once.
    """
    model = assemble(cut_region(graph, nodes)).whole()
    return bytes(model.SerializeToString(deterministic=True))
