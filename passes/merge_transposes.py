"""Merge Transposes of Transposes; those that undo each other vanish."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from lowbitc.compiler.ir import ops
from lowbitc.passes.edit import Edit, joined_sources

if TYPE_CHECKING:
    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.compiler.manager import PassResult


@dataclass(frozen=True, slots=True)
class MergeTransposes:
    """Let a Transpose of a Transpose read the latter's input."""

    name: ClassVar[str] = "merge-transposes"

    def run(self, graph: Graph, /) -> PassResult:
        """Return the graph without pairs of Transposes."""
        edit = Edit(graph)
        for found in graph.nodes:
            node = edit.current(found)
            if not isinstance(node, ops.Transpose):
                continue
            inner = edit.maker(node.inputs[0])
            if not isinstance(inner, ops.Transpose):
                continue
            perm = tuple(inner.perm[axis] for axis in node.perm)
            if perm == tuple(range(len(perm))):
                edit.bypass(node, inner.inputs[0])
            elif edit.read_once(node.inputs[0]):
                edit.put(
                    dataclasses.replace(
                        node,
                        inputs=inner.inputs,
                        perm=perm,
                        sources=joined_sources(inner, node),
                    )
                )
        return edit.done()
