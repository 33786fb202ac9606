"""How a program that was just made is summed up."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from lowbitc.compilation import Compilation


def summary(made: Compilation, path: Path) -> dict[str, object]:
    """Return what was made, in short."""
    program = made.program
    return {
        "program": path.as_posix(),
        "size_bytes": path.stat().st_size,
        "sha256": program.digest,
        "target": program.target,
        "options": program.options,
        "launches": len(program.launches),
        "host_nodes": sum(len(step.nodes) for step in program.host_steps),
        "processors": program.placement.most_processors,
    }
