"""Which files a verdict can be written to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from pathlib import Path

SUFFIXES = (".json", ".xml", ".sarif", ".md")


def check_outputs(
    _ctx: click.Context, _option: click.Parameter, given: tuple[Path, ...]
) -> tuple[Path, ...]:
    """Refuse files whose suffix names no form."""
    for path in given:
        if path.suffix not in SUFFIXES:
            message = f"{path} ends in none of {', '.join(SUFFIXES)}, which say its form"
            raise click.BadParameter(message)
    return given
