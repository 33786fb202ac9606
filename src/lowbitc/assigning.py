"""Put a target's rules and costs into the pass that says what runs on the chip."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lowbitc.options import PAYING
from lowbitc.passes.assign_devices import AssignDevices
from lowbitc.passes.islands import Crossing

if TYPE_CHECKING:
    from lowbitc.compiler.bits import Bits
    from lowbitc.targets.spec import Target


def assigning(target: Target, bits: Bits, offload: str) -> AssignDevices:
    """Return the pass for a target."""
    crossing = Crossing(target.saved_seconds, target.figure("launch_time"))
    return AssignDevices(target.findings, bits, crossing if offload == PAYING else None)
