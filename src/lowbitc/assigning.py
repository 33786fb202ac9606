"""Put a target's rules and costs into the pass that says what runs on the chip."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lowbitc.options import PAYING
from lowbitc.passes.assign_devices import AssignDevices
from lowbitc.passes.check_quantized import check_quantized, is_quantized
from lowbitc.passes.islands import Crossing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lowbitc.compiler.bits import Bits
    from lowbitc.compiler.diagnostics import Diagnostic
    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.targets.spec import Target


def assigning(target: Target, bits: Bits, offload: str) -> AssignDevices:
    """Return the pass for a target.

    Of a model that is quantized already, only what can be taken as it is runs on the chip.
    """

    def findings(graph: Graph) -> Mapping[str, tuple[Diagnostic, ...]]:
        refused = target.findings(graph, bits)
        return check_quantized(graph, refused) if is_quantized(graph) else refused

    crossing = Crossing(target.saved_seconds, target.figure("launch_time"))
    return AssignDevices(findings, bits, crossing if offload == PAYING else None)
