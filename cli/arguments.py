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
    mode: str | None
    limit: int | None
    threads: int
    offload: str | None
    states: tuple[str, ...]


class Bounding(TypedDict):
    """What options.search_options() gives a command."""

    max_drop: float | None
    max_size: int | None
    max_energy: float | None
    max_nps: int | None
    data: str | None
    metric: str
    write_config: Path | None


class SearchArguments(Arguments, Bounding):
    """Both, for a command that compiles at given bits or searches them."""
