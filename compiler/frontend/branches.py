"""Replace an If whose condition is known by the nodes of the branch that is taken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnx import NodeProto

from lowbitc.compiler.frontend.attributes import Attributes
from lowbitc.compiler.frontend.splice import copy_node
from lowbitc.compiler.frontend.structure import Step, name_nodes
from lowbitc.compiler.ir.graph import fresh_name

if TYPE_CHECKING:
    from onnx import GraphProto

    from lowbitc.compiler.elements import Array


@dataclass(frozen=True, slots=True)
class Branch:
    """The branch that an If takes: its graph, which holds constants, and steps to visit."""

    graph: GraphProto
    steps: list[Step]


def taken_branch(step: Step, condition: Array, values: set[str], names: set[str]) -> Branch | None:
    """Return the branch, with names that are in use already kept apart; None if it has none.

    ``values`` and ``names`` are those of the graph so far, and gain those of the branch.
    """
    which = "then_branch" if bool(condition.ravel()[0].item()) else "else_branch"
    held = Attributes.of(step.proto).held.get(which)
    if held is None:
        return None
    graph = held.g
    if any(t.name in values for t in graph.initializer) or graph.sparse_initializer:
        return None
    renamed: dict[str, str] = {}
    for value in (value for node in graph.node for value in node.output if value):
        renamed[value] = fresh_name(value, values) if value in values else value
        values.add(renamed[value])
    values.update(t.name for t in graph.initializer)
    nodes = [copy_node(node, lambda value: renamed.get(value, value), {}) for node in graph.node]
    for made, inner in zip(step.proto.output, graph.output, strict=False):
        source = renamed.get(inner.name, inner.name)
        nodes.append(NodeProto(op_type="Identity", name=step.name, input=[source], output=[made]))
    names.discard(step.name)
    steps = name_nodes(nodes, names)
    names.update(one.name for one in steps)
    return Branch(graph, steps)
