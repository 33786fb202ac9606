"""Count the multiply-accumulates and parameters of a piece that runs on the CPU."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import numpy_helper, shape_inference

from lowbitc.compiler.export.samples import SAMPLES
from lowbitc.compiler.work import RECURRENT, is_identity

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

    from lowbitc.compiler.elements import Array

_MATRIX = 2


@dataclass(frozen=True, slots=True)
class HostWork:
    """Multiply-accumulates a sample, and parameters.

    A recurrent layer that reads its projections through an identity does no work for that.
    Bodies of loops count once, since only the data says how often they run.
    """

    macs: int
    params: int


def host_work(model: bytes) -> HostWork:
    """Count the work of a piece for one sample; other free dimensions are taken as 1."""
    graph = _of_one_sample(model).graph
    shapes = {
        v.name: tuple(d.dim_value or 1 for d in v.type.tensor_type.shape.dim)
        for v in (*graph.input, *graph.value_info, *graph.output)
    }
    held = {t.name: tuple(t.dims) for t in graph.initializer}
    weights_of = {n.input[1] for n in graph.node if n.op_type in RECURRENT and len(n.input) > 1}
    handed_on = {t.values.name for t in graph.sparse_initializer if is_identity(_dense(t))}
    handed_on |= {
        t.name
        for t in graph.initializer
        if t.name in weights_of and is_identity(numpy_helper.to_array(t))
    }
    held.update({t.values.name: tuple(t.dims) for t in graph.sparse_initializer})
    shapes.update(held)
    macs = sum(_node_macs(node, shapes, handed_on) for node in graph.node)
    weights = {v for node in graph.node for v in node.input if len(held.get(v, ())) > 1}
    weights -= handed_on
    return HostWork(macs, sum(math.prod(held[v]) for v in weights))


def _of_one_sample(model: bytes) -> onnx.ModelProto:
    """Return a model with shapes, those of one sample where any number of them can run."""
    proto = onnx.load_model_from_string(model)
    for value in (*proto.graph.input, *proto.graph.output):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param.endswith(SAMPLES):
                dim.dim_value = int(dim.dim_param.removesuffix(SAMPLES).strip() or 1)
    return shape_inference.infer_shapes(proto)


def _dense(tensor: onnx.SparseTensorProto) -> Array:
    array = np.zeros(tuple(tensor.dims), np.float32)
    array.reshape(-1)[numpy_helper.to_array(tensor.indices)] = numpy_helper.to_array(tensor.values)
    return array


def _node_macs(
    node: onnx.NodeProto, shapes: Mapping[str, tuple[int, ...]], handed_on: Container[str]
) -> int:
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
    if node.op_type in RECURRENT and len(inputs) > _MATRIX and inputs[0]:
        own = 0 if node.input[1] in handed_on else math.prod(inputs[1])
        return math.prod(inputs[0][:_MATRIX]) * (own + math.prod(inputs[2]))
    return 0
