"""Canonicalise a graph: the small rewrites, again and again until none finds anything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from lowbitc.compiler.diagnostics import InternalError
from lowbitc.compiler.manager import PassResult
from lowbitc.passes.drop_identities import DropIdentities
from lowbitc.passes.fuse_activations import FuseActivations
from lowbitc.passes.hoist_clips import HoistClips
from lowbitc.passes.hoist_projections import HoistProjections
from lowbitc.passes.lower_arithmetic import LowerArithmetic
from lowbitc.passes.lower_dense import LowerDense
from lowbitc.passes.lower_gathers import LowerGathers
from lowbitc.passes.lower_pools import LowerPools
from lowbitc.passes.lower_reshapes import LowerReshapes
from lowbitc.passes.lower_splits import LowerSplits
from lowbitc.passes.merge_clips import MergeClips
from lowbitc.passes.merge_dense import MergeDense
from lowbitc.passes.merge_pads import MergePads
from lowbitc.passes.merge_transposes import MergeTransposes
from lowbitc.passes.sink_transposes import SinkTransposes

if TYPE_CHECKING:
    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.compiler.manager import Pass

CANONICAL: tuple[Pass, ...] = (
    DropIdentities(),
    LowerArithmetic(),
    LowerReshapes(),
    MergeTransposes(),
    LowerDense(),
    LowerGathers(),
    HoistProjections(),
    MergeDense(),
    SinkTransposes(),
    LowerPools(),
    LowerSplits(),
    MergeClips(),
    FuseActivations(),
    HoistClips(),
    MergePads(),
)
"""Rewrites to one spelling of each thing, in the order of a round."""


@dataclass(frozen=True, slots=True)
class Canonicalise:
    """Run the rewrites of ``CANONICAL`` to a fixed point, ``most_rounds`` times at most."""

    name: ClassVar[str] = "canonicalise"
    most_rounds: int = 50

    def run(self, graph: Graph, /) -> PassResult:
        """Return an equal graph in which each thing is spelled one way."""
        pruned = graph.pruned()
        changed = len(pruned.nodes) != len(graph.nodes)
        current = pruned if changed else graph
        for _ in range(self.most_rounds):
            again = False
            for step in CANONICAL:
                result = step.run(current)
                current = result.graph
                again |= result.changed
            if not again:
                return PassResult(current, changed)
            changed = True
        message = f"{graph.name} is not canonical after {self.most_rounds} rounds"
        raise InternalError(message)
