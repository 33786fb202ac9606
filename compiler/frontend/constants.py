"""Gather the constants of a model, and the types that it writes down."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from lowbitc.compiler.diagnostics import Diagnostic
from lowbitc.compiler.elements import PlainType
from lowbitc.compiler.frontend.schema import plain_domain
from lowbitc.compiler.frontend.tensors import read_constant_node, read_sparse, read_tensor
from lowbitc.compiler.frontend.types import value_type
from lowbitc.compiler.onnx_types import plain_type

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from onnx import GraphProto, ValueInfoProto

    from lowbitc.compiler.elements import Array
    from lowbitc.compiler.frontend.external import ExternalFiles
    from lowbitc.compiler.frontend.structure import Step
    from lowbitc.compiler.frontend.values import KnownValues
    from lowbitc.compiler.ir.types import ValueType


def true_inputs(graph: GraphProto) -> list[ValueInfoProto]:
    """Return the inputs that are no initializers: those had to be listed until IR version 4."""
    held = {t.name for t in graph.initializer}
    held |= {t.values.name for t in graph.sparse_initializer}
    return [info for info in graph.input if info.name not in held]


def stated_types(graph: GraphProto, sizes: Mapping[str, int]) -> dict[str, ValueType]:
    """Return the types that the model writes down for inner values and outputs."""
    stated: dict[str, ValueType] = {}
    for info in (*graph.output, *graph.value_info):
        held = value_type(info.type, sizes)
        if held is not None:
            stated[info.name] = held
    return stated


def load_constants(
    graph: GraphProto, steps: Sequence[Step], files: ExternalFiles, values: KnownValues
) -> Iterator[Diagnostic]:
    """Keep initializers and Constant nodes in ``values``; yield those that cannot be read."""
    for name, number, found in _tensors(graph, files):
        if isinstance(found, Diagnostic):
            yield found
        else:
            values.add_constant(name, found, plain_type(number))
    for step in steps:
        node = step.proto
        if node.op_type != "Constant" or plain_domain(node.domain) or not node.output:
            continue
        held = read_constant_node(node, files)
        if isinstance(held, Diagnostic):
            yield dataclasses.replace(held, sources=(step.source,))
            continue
        values.add_constant(node.output[0], held, _element(step, held))


def _tensors(
    graph: GraphProto, files: ExternalFiles
) -> Iterator[tuple[str, int, Array | Diagnostic]]:
    for tensor in graph.initializer:
        yield tensor.name, tensor.data_type, read_tensor(tensor, files)
    for sparse in graph.sparse_initializer:
        yield sparse.values.name, sparse.values.data_type, read_sparse(sparse, files)


def _element(step: Step, held: Array) -> PlainType:
    """Return the element type of a Constant node, which numpy may not be able to spell."""
    for attribute in step.proto.attribute:
        if attribute.name == "value":
            return plain_type(attribute.t.data_type)
    return PlainType("string" if held.dtype.kind == "O" else str(held.dtype))
