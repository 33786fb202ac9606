"""What options.compile_options() gives a command."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from pathlib import Path


class Arguments(TypedDict):
    """What settles a compilation, by the names of ``lowbitc.options.settle``."""

    calib: str | None
    bits: str | None
    target: str | None
    config: Path | None
    shapes: tuple[str, ...]
    clip: str | None
    weights: str | None
    limit: int
    threads: int
