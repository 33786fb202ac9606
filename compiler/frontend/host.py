"""Keep operators whole for the CPU."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from onnx import AttributeProto, NodeProto, TensorProto, numpy_helper

from lowbitc.compiler.diagnostics import Diagnostic
from lowbitc.compiler.frontend.schema import plain_domain
from lowbitc.compiler.frontend.tensors import read_tensor
from lowbitc.compiler.ir import ops

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from onnx import GraphProto

    from lowbitc.compiler.frontend.external import ExternalFiles
    from lowbitc.compiler.frontend.structure import Step


def host_op(step: Step) -> ops.HostOp:
    """Make a host operator of a node, under its unique name."""
    proto = step.proto
    if proto.name != step.name:
        proto = NodeProto()
        proto.CopyFrom(step.proto)
        proto.name = step.name
    return ops.HostOp(
        name=step.name,
        inputs=without_trailing(proto.input),
        outputs=without_trailing(proto.output),
        sources=(step.source,),
        domain=plain_domain(proto.domain),
        op_type=proto.op_type,
        proto=proto.SerializeToString(deterministic=True),
        captures=step.captures,
    )


def without_trailing(values: Sequence[str]) -> tuple[str, ...]:
    """Drop the optional values that are left out at the end."""
    kept = list(values)
    while kept and not kept[-1]:
        kept.pop()
    return tuple(kept)


def embed_external(
    steps: Sequence[Step], files: ExternalFiles
) -> tuple[list[Step], list[Diagnostic]]:
    """Bring external tensors of subgraphs into their nodes, which will leave the model's folder."""
    found: list[Diagnostic] = []
    done: list[Step] = []
    for step in steps:
        if not any(_is_external(tensor) for tensor in _inner_tensors(step.proto)):
            done.append(step)
            continue
        copy = NodeProto()
        copy.CopyFrom(step.proto)
        for tensor in _inner_tensors(copy):
            if _is_external(tensor):
                held = read_tensor(tensor, files)
                if isinstance(held, Diagnostic):
                    found.append(dataclasses.replace(held, sources=(step.source,)))
                else:
                    tensor.CopyFrom(numpy_helper.from_array(held, tensor.name))
        done.append(dataclasses.replace(step, proto=copy))
    return done, found


def _is_external(tensor: TensorProto) -> bool:
    return tensor.data_location == TensorProto.EXTERNAL


def _inner_tensors(node: NodeProto) -> Iterator[TensorProto]:
    """Yield the tensors in the subgraphs of a node, to any depth."""
    for held in node.attribute:
        graphs = [held.g] if held.type == AttributeProto.GRAPH else list(held.graphs)
        for graph in graphs:
            yield from _graph_tensors(graph)


def _graph_tensors(graph: GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        for held in node.attribute:
            if held.type == AttributeProto.TENSOR:
                yield held.t
        yield from _inner_tensors(node)
