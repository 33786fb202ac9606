"""Lower Flatten, Squeeze and Unsqueeze to Reshape, and give every Reshape one spelling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from lowbitc.compiler.ir import ops
from lowbitc.compiler.ir.groups import RESHAPES
from lowbitc.passes.edit import Edit, joined_sources

if TYPE_CHECKING:
    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.compiler.ir.node import Node
    from lowbitc.compiler.manager import PassResult


@dataclass(frozen=True, slots=True)
class LowerReshapes:
    """Make nodes that only regroup elements one Reshape, as far as shapes are known.

    The first dimension is 0 (as the input's) or −1, so that any number of samples fits; the others
    are numbers. A Transpose that only moves dimensions of size 1 is a Reshape too. A Reshape of
    what one Reshape alone reads is merged with it.
    """

    name: ClassVar[str] = "lower-reshapes"

    def run(self, graph: Graph, /) -> PassResult:
        """Return the graph with Reshapes only."""
        edit = Edit(graph)
        for node in graph.nodes:
            if isinstance(node, RESHAPES) or _moves_nothing(edit, node):
                _lower(edit, node)
        return edit.done()


def _moves_nothing(edit: Edit, node: Node) -> bool:
    """Whether a Transpose keeps the order of elements within a sample."""
    if not isinstance(node, ops.Transpose) or node.perm[:1] != (0,):
        return False
    held = edit.tensor(node.inputs[0])
    moved = [axis for axis in node.perm[1:] if held.known and held.dims[axis] != 1]
    return held.known and moved == sorted(moved) and node.perm != tuple(range(len(node.perm)))


def _lower(edit: Edit, node: Node) -> None:
    value, output = node.inputs[0], node.outputs[0]
    before, after = edit.tensor(value), edit.tensor(output)
    if not (before.known and after.known and before.dims and after.dims) or 0 in before.dims:
        return
    sources = node.sources
    inner = edit.maker(value)
    if isinstance(inner, ops.Reshape) and edit.read_once(value):
        first = edit.tensor(inner.inputs[0])
        if first.known and first.dims:
            value, before = inner.inputs[0], first
            sources = joined_sources(inner, node)
    lead = 0 if before.dims[0] == after.dims[0] else -1
    lowered = ops.Reshape(
        name=node.name,
        inputs=(value,),
        outputs=(output,),
        sources=sources,
        shape=(lead, *after.dims[1:]),
    )
    if lowered != node:
        edit.put(lowered)
