"""Prove that nodes may run on several samples at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lowbitc.compiler.export.opsets import is_onnx
from lowbitc.compiler.ir import ops
from lowbitc.compiler.ir.graph import reads
from lowbitc.compiler.ir.groups import ACTIVATIONS, POOLS, PRODUCTS, RESHAPES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.compiler.ir.node import Node

SAMPLES = "samples"
"""Name of a free dimension 0, after the rows that one sample has where that is not 1."""

_ALONG_ROWS = (
    ops.Conv,
    ops.ConvTranspose,
    *POOLS,
    *ACTIVATIONS,
    ops.BatchNorm,
    ops.ScaleShift,
    ops.FakeQuantize,
    ops.Identity,
)
_BINARY = (ops.Add, ops.Sub, ops.Mul, ops.Div)
"""Written as a Reshape whose dimension 0 is open wherever they touch it."""
_HOST_UNARY = frozenset(
    {
        *("Abs", "Acos", "Asin", "Atan", "Ceil", "Celu", "Cos", "Exp", "Floor", "IsInf", "IsNaN"),
        *("Log", "Mish", "Neg", "Not", "Reciprocal", "Round", "Selu", "Sign", "Sin", "Softsign"),
        *("Sqrt", "Tan", "ThresholdedRelu", "InstanceNormalization"),
    }
)


def free_rows(graph: Graph, value: str) -> str:
    """Name dimension 0 of a value for any number of samples: it has so many rows a sample."""
    rows = graph.shape(value)[0]
    return SAMPLES if rows == 1 else f"{rows} {SAMPLES}"


def samples_stay_apart(graph: Graph, nodes: Sequence[Node], inputs: Sequence[str]) -> bool:
    """Say whether n samples, joined along axis 0 of every input, give the n outputs joined.

    False where it cannot be shown from shapes and operators; the samples then run one by one.
    """
    values = [*inputs, *(v for node in nodes for v in node.outputs if v)]
    if not inputs or not all(graph.tensor(v).known and graph.shape(v) for v in values):
        return False
    return all(_row_by_row(graph, node) for node in nodes)


def _row_by_row(graph: Graph, node: Node) -> bool:
    data = [v for v in reads(node) if v not in graph.constants]
    if not data or any(0 in graph.shape(v) for v in (*data, *node.outputs) if v):
        return False
    if isinstance(node, _ALONG_ROWS):
        return data == [node.inputs[0]] and len(graph.shape(data[0])) > 1
    if isinstance(node, _BINARY):
        return _broadcast_keeps_rows(graph, node)
    if isinstance(node, RESHAPES):
        return True
    if isinstance(node, (*PRODUCTS, ops.Dense)):
        return _product_keeps_rows(graph, node, data)
    if isinstance(node, ops.HostOp):
        return is_onnx(node.domain) and node.op_type in _HOST_UNARY and data == [node.inputs[0]]
    return len(data) == len(node.inputs) and _leaves_axis_0(node)


def _leaves_axis_0(node: Node) -> bool:
    """Say whether an operator with axes as attributes works on other axes than 0."""
    if isinstance(node, (ops.Softmax, ops.Concat, ops.Split)):
        return node.axis > 0
    if isinstance(node, (ops.ReduceMean, ops.Slice)):
        return all(axis > 0 for axis in node.axes)
    if isinstance(node, ops.Transpose):
        return node.perm[:1] == (0,)
    if isinstance(node, ops.Pad):
        return node.pads[0] == 0 == node.pads[len(node.pads) // 2]
    return isinstance(node, ops.Upsample) and node.factors[:1] == (1,)


def _broadcast_keeps_rows(graph: Graph, node: Node) -> bool:
    out = graph.shape(node.outputs[0])
    for value in node.inputs:
        shape = graph.shape(value)
        if value in graph.constants:
            if len(shape) == len(out) and shape[0] != 1:
                return False
        elif len(shape) != len(out) or shape[0] != out[0]:
            return False
    return True


def _product_keeps_rows(graph: Graph, node: Node, data: list[str]) -> bool:
    out = graph.shape(node.outputs[0])
    x = graph.shape(node.inputs[0])
    if len(x) < 2 or len(x) != len(out) or x[0] != out[0]:  # noqa: PLR2004 - a matrix
        return False
    if data == [node.inputs[0]]:
        if isinstance(node, ops.Gemm):
            c = graph.shape(node.inputs[2]) if len(node.inputs) > 2 else ()  # noqa: PLR2004
            return not node.trans_a and (len(c) < len(out) or c[:1] == (1,))
        return isinstance(node, ops.Dense) or len(graph.shape(node.inputs[1])) == 2  # noqa: PLR2004
    # Matrices of which each sample has its own: the leading dimension counts them on both sides.
    y = graph.shape(node.inputs[1])
    batched = len(x) == len(y) and len(x) > 2  # noqa: PLR2004
    return isinstance(node, ops.MatMul) and batched and y[:1] == x[:1]
