"""Programs: what the chip and the CPU run, written to a container and read back from it."""

from __future__ import annotations

from lowbitc.targets.program.load import load_program, program_of
from lowbitc.targets.program.program import (
    HostNode,
    HostStep,
    KnownAnswer,
    Launch,
    Port,
    Program,
    Step,
)

__all__ = [
    "HostNode",
    "HostStep",
    "KnownAnswer",
    "Launch",
    "Port",
    "Program",
    "Step",
    "load_program",
    "program_of",
]
