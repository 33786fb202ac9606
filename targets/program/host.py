"""Check a piece that runs on the CPU before ONNX Runtime sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_EXACT = frozenset(
    {
        *("Abs", "Add", "And", "Cast", "Ceil", "Clip", "Concat", "Constant", "Div", "Equal"),
        *("Flatten", "Floor", "Greater", "Identity", "LeakyRelu", "Less", "Max", "Min", "Mul"),
        *("MaxPool", "Neg", "Not", "Or", "Pad", "Relu", "Reshape", "Round", "Sign", "Slice"),
        *("Softmax", "Split", "Sqrt", "Squeeze", "Sub", "Transpose", "Unsqueeze", "Where"),
        *("GlobalMaxPool", "LogSoftmax", "ArgMax", "ArgMin", "DequantizeLinear"),
    }
)
"""Operators that give a sample the same bits whatever other samples run beside it.

Moves, comparisons and single IEEE operations do, and so does softmax, which goes row by row.
Matrix products and vectorised functions such as Exp may round differently at another size.
"""
_SAMPLES = "samples"


class HostModelError(ValueError):
    """Bytes that are no ONNX model that a program may hold; the text says why."""


def read_host_model(data: bytes, inputs: Sequence[str], outputs: Sequence[str]) -> bool:
    """Check a model, and return whether it may run on several samples at once.

    Raises HostModelError when the bytes are no model, when its inputs or outputs have other
    names than the manifest says, or when it refers to files.
    """
    try:
        model = ModelProto.FromString(data)
    except DecodeError as problem:
        message = "not an ONNX model"
        raise HostModelError(message) from problem
    graph = model.graph
    found = ([v.name for v in graph.input], [v.name for v in graph.output])
    if found != (list(inputs), list(outputs)):
        message = f"inputs and outputs {found}, where the manifest has {(inputs, outputs)}"
        raise HostModelError(message)
    if model.functions or model.training_info:
        message = "local functions or training information"
        raise HostModelError(message)
    for tensor in _tensors(graph):
        if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
            message = f"the tensor {tensor.name!r} stands in another file"
            raise HostModelError(message)
    free = all(_counts_samples(value) for value in (*graph.input, *graph.output))
    return bool(graph.input) and free and all(_keeps_bits(node) for node in graph.node)


def _counts_samples(value: ValueInfoProto) -> bool:
    dims = value.type.tensor_type.shape.dim
    return bool(dims) and dims[0].dim_param.endswith(_SAMPLES)


def _keeps_bits(node: NodeProto) -> bool:
    return node.domain in {"", "ai.onnx"} and node.op_type in _EXACT


def _tensors(graph: GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                yield from (sparse.values, sparse.indices)
            for inner in (attribute.g, *attribute.graphs):
                yield from _tensors(inner)
