"""Choose the operator set that a graph is written at."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import onnx
from onnx import AttributeProto, NodeProto, helper

from lowbitc.compiler.diagnostics import CompileError, Diagnostic, error
from lowbitc.compiler.ir import ops

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.compiler.ir.node import Node

OLDEST_OPSET = 7
"""The first with today's broadcasting, and the first that ONNX Runtime promises to run."""
_OLDEST_IR = 8
"""The first IR version with sequences and optionals; its initializers need not be inputs."""
_ONNX = frozenset({"", "ai.onnx"})


def is_onnx(domain: str) -> bool:
    """Say whether a domain is that of ONNX itself."""
    return domain in _ONNX


def choose_opset(graph: Graph, nodes: Sequence[Node], wanted: int | None) -> int:
    """Return ``wanted``, or the graph's opset, raised where a typed operator needs a newer one.

    Raises CompileError LB190 for every host operator whose meaning is another one there.
    """
    need = max([OLDEST_OPSET, *(_first_opset(node) for node in nodes)])
    opset = max(graph.opset if wanted is None else wanted, need)
    if opset != graph.opset:
        found = [d for node in nodes for d in _changed_meanings(node, graph.opset, opset)]
        if found:
            raise CompileError(found)
    return opset


def ir_version(opsets: dict[str, int]) -> int:
    """Return the oldest IR version that has these operator sets, and is new enough for lowbitc."""
    known = helper.OP_SET_ID_VERSION_MAP
    wanted = [known.get((domain or "ai.onnx", v), _OLDEST_IR) for domain, v in opsets.items()]
    return max([_OLDEST_IR, *wanted])


def operators(node: ops.HostOp) -> Iterator[tuple[str, str]]:
    """Yield domain and type of a host operator and of all operators in its subgraphs."""
    yield from _operators(NodeProto.FromString(node.proto))


def _operators(proto: NodeProto) -> Iterator[tuple[str, str]]:
    yield proto.domain, proto.op_type
    for attribute in proto.attribute:
        graphs = [attribute.g] if attribute.type == AttributeProto.GRAPH else attribute.graphs
        for inner in graphs:
            for child in inner.node:
                yield from _operators(child)


def _first_opset(node: Node) -> int:
    """Return the first operator set at which a typed operator can be written."""
    if isinstance(node, ops.Bound):
        return 8
    if isinstance(node, (ops.Erf, ops.Gelu)):
        return 9
    if isinstance(node, ops.Slice) and any(step != 1 for step in node.steps):
        return 10
    if isinstance(node, ops.MaxPool) and (node.ceil_mode or set(node.dilation) - {1}):
        return 10
    if isinstance(node, ops.FakeQuantize):
        return 11
    if isinstance(node, ops.AveragePool):
        return 19 if set(node.dilation) - {1} else 10 if node.ceil_mode else OLDEST_OPSET
    return OLDEST_OPSET


@functools.cache
def _since(op_type: str, opset: int) -> int:
    try:
        return int(onnx.defs.get_schema(op_type, opset, "").since_version)
    except onnx.defs.SchemaError:
        return 0


def _changed_meanings(node: Node, old: int, new: int) -> Iterator[Diagnostic]:
    if not isinstance(node, ops.HostOp):
        return
    for domain, op_type in sorted(set(operators(node))):
        if is_onnx(domain) and _since(op_type, old) != _since(op_type, new):
            yield error(
                "LB190",
                f"{op_type} of opset {old} has another meaning at opset {new}",
                sources=node.sources,
                found=f"opset {old}",
                allowed=f"opset {new} or later",
                hint="convert the model with onnx.version_converter, then compile it again",
            )
