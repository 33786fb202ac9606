"""Count the multiply-accumulates and parameters of a piece that runs on the CPU."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import onnx
from onnx import shape_inference

if TYPE_CHECKING:
    from collections.abc import Mapping

_RECURRENT = frozenset({"LSTM", "GRU", "RNN"})
_MATRIX = 2


@dataclass(frozen=True, slots=True)
class HostWork:
    """Multiply-accumulates a sample, and parameters.

    Bodies of loops count once, since only the data says how often they run.
    """

    macs: int
    params: int


def host_work(model: bytes) -> HostWork:
    """Count the work of a piece, its free dimensions taken as 1."""
    proto = shape_inference.infer_shapes(onnx.load_model_from_string(model))
    graph = proto.graph
    shapes = {
        v.name: tuple(d.dim_value or 1 for d in v.type.tensor_type.shape.dim)
        for v in (*graph.input, *graph.value_info, *graph.output)
    }
    held = {t.name: tuple(t.dims) for t in graph.initializer}
    shapes.update(held)
    macs = sum(_node_macs(node, shapes) for node in graph.node)
    weights = {v for node in graph.node for v in node.input if len(held.get(v, ())) > 1}
    return HostWork(macs, sum(math.prod(held[v]) for v in weights))


def _node_macs(node: onnx.NodeProto, shapes: Mapping[str, tuple[int, ...]]) -> int:
    inputs = [shapes.get(v, ()) for v in node.input]
    output = shapes.get(node.output[0], ()) if node.output else ()
    if node.op_type == "Conv" and len(inputs) > 1:
        return math.prod(output) * math.prod(inputs[1][1:])
    if node.op_type == "ConvTranspose" and len(inputs) > 1:
        return math.prod(inputs[0]) * math.prod(inputs[1][1:])
    if node.op_type == "MatMul" and inputs and inputs[0]:
        return math.prod(output) * inputs[0][-1]
    if node.op_type == "Gemm" and len(inputs[0]) == _MATRIX:
        turned = any(a.name == "transA" and a.i for a in node.attribute)
        return math.prod(output) * inputs[0][0 if turned else 1]
    if node.op_type in _RECURRENT and len(inputs) > _MATRIX:
        steps, batch, _ = inputs[0]
        return steps * batch * (math.prod(inputs[1]) + math.prod(inputs[2]))
    return 0
