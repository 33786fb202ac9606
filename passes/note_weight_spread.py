"""Note layers whose weights would lose bits under one scale for all channels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from lowbitc.compiler.diagnostics import note
from lowbitc.compiler.ir.groups import WEIGHTED
from lowbitc.compiler.manager import PassResult
from lowbitc.passes.edit import Edit
from lowbitc.passes.scale_weights import output_ranges

if TYPE_CHECKING:
    from lowbitc.compiler.ir.graph import Graph

_DEAD = 2.0**-24


@dataclass(frozen=True, slots=True)
class NoteWeightSpread:
    """Compare the largest weight of each output channel within a layer.

    ``bits`` is how many bits the smallest channel would lose before a layer is named. Channels
    below a float32 rounding of the largest are dead and do not count.
    """

    name: ClassVar[str] = "note-weight-spread"
    bits: float = 4.0

    def run(self, graph: Graph, /) -> PassResult:
        """Return the graph as it is."""
        edit = Edit(graph)
        spreads: dict[str, float] = {}
        wide = [node for node in graph.nodes if isinstance(node, WEIGHTED)]
        for node in wide:
            ranges = output_ranges(edit, node)
            if ranges is not None and np.any(ranges > 0):
                alive = ranges[ranges > ranges.max() * _DEAD]
                spreads[node.name] = float(np.log2(alive.max() / alive.min()))
        found = sorted(
            (name for name, lost in spreads.items() if lost > self.bits),
            key=lambda name: (-spreads[name], name),
        )
        if not found:
            return PassResult(graph, changed=False)
        lost = ", ".join(f"{name} {spreads[name]:.1f}" for name in found[:5])
        finding = note(
            "LB425",
            f"one scale a tensor would cost the smallest channels of {len(found)} layers more than "
            f"{self.bits:g} bits; one a channel costs nothing",
            sources=tuple(s for node in wide if node.name in found for s in node.sources),
            found=f"bits: {lost}" + (", …" if len(found) > 5 else ""),  # noqa: PLR2004
        )
        return PassResult(graph, changed=False, diagnostics=(finding,))
