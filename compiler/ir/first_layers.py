"""Which layers come first: their weights may have other bits than those of the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lowbitc.compiler.ir.groups import WEIGHTED

if TYPE_CHECKING:
    from lowbitc.compiler.ir.graph import Graph


def first_layers(graph: Graph) -> frozenset[str]:
    """Return the names of weighted nodes that no weighted node comes before."""
    behind: dict[str, bool] = {}
    first: set[str] = set()
    for node in graph.nodes:
        after = any(behind.get(value, False) for value in node.inputs)
        if isinstance(node, WEIGHTED):
            if not after:
                first.add(node.name)
            after = True
        behind.update(dict.fromkeys(node.outputs, after))
    return frozenset(first)
