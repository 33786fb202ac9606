"""Mark a graph as folded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lowbitc.compiler.ir.graph import Graph, Stage
from lowbitc.compiler.manager import PassResult


@dataclass(frozen=True, slots=True)
class MarkFolded:
    """Set the stage to FOLDED: from here on there is no Identity and no BatchNorm."""

    name: ClassVar[str] = "mark-folded"

    def run(self, graph: Graph, /) -> PassResult:
        """Return the graph, without dead code, in stage FOLDED."""
        after = graph.pruned().replace(stage=Stage.FOLDED)
        changed = graph.stage is not Stage.FOLDED or after.nodes != graph.nodes
        return PassResult(after, changed)
