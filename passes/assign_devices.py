"""Decide which nodes run on the chip, and say of every other one why it stays on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from lowbitc.compiler.bits import Bits
from lowbitc.compiler.diagnostics import Diagnostic, raise_errors
from lowbitc.compiler.ir import ops
from lowbitc.compiler.ir.graph import Graph
from lowbitc.compiler.ir.groups import LAYOUT, TABLES
from lowbitc.compiler.manager import PassResult
from lowbitc.passes.drop_islands import drop_islands

if TYPE_CHECKING:
    from lowbitc.compiler.ir.node import Node
    from lowbitc.passes.islands import Crossing

Findings = Callable[[Graph], Mapping[str, tuple[Diagnostic, ...]]]
"""What a target says of each node of a folded graph; a node with no entry can run on it."""

_LAST = "LB291: only the CPU reads the result, which is exact there and costs next to nothing"
_EXCLUDED = "LB292: lowbitc.toml keeps this layer on the CPU"


@dataclass(frozen=True, slots=True)
class AssignDevices:
    """Fill ``Graph.host_reasons`` from the target's rules and the user's exclusions.

    Beyond what the rules say, islands of a launch without weights go to the CPU, and so do layout
    changes, table activations and sums of two values that only the CPU reads. With ``crossing``,
    so do islands whose work does not pay for their crossing.
    """

    name: ClassVar[str] = "assign-devices"
    findings: Findings
    bits: Bits = Bits()
    crossing: Crossing | None = None

    def run(self, graph: Graph) -> PassResult:
        """Return the graph with a reason for every node that is not for the chip."""
        raise_errors(self.bits.unmatched(graph.nodes))
        reasons: dict[str, str] = {}
        for node in graph.nodes:
            if any(layer.on_host and layer.fits(node) for layer in self.bits.layers):
                reasons[node.name] = _EXCLUDED
        before = -1
        while len(reasons) > before:
            before = len(reasons)
            # What the target says of a node may depend on where others run.
            found = self.findings(graph.replace(host_reasons=reasons))
            for name, why in found.items():
                if reasons.get(name, _EXCLUDED) == _EXCLUDED:
                    reasons[name] = _sentence(why[0])
            drop_islands(graph, reasons, self.crossing)
            _drop_last(graph, reasons)
        ordered = {n.name: reasons[n.name] for n in graph.nodes if n.name in reasons}
        after = graph.replace(host_reasons=ordered)
        return PassResult(after, ordered != dict(graph.host_reasons))


def _sentence(why: Diagnostic) -> str:
    return f"{why.code}: {why.message}" + (f" (found {why.found})" if why.found else "")


def _drop_last(graph: Graph, reasons: dict[str, str]) -> None:
    """Send to the CPU what follows the last weights and costs the chip resolution."""
    readers = graph.consumers()
    for node in reversed(graph.nodes):
        if node.name in reasons or not _is_light(node):
            continue
        after = [reader for value in node.outputs for reader in readers.get(value, [])]
        if all(reader.name in reasons for reader in after):
            reasons[node.name] = _LAST


def _is_light(node: Node) -> bool:
    return isinstance(node, (*LAYOUT, *TABLES, ops.ScaleShift, ops.Add))
