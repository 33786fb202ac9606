"""What holds for one run of the command line: the output format, and whether to debug."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, cast, get_args

import click

Format = Literal["text", "json", "dot"]
FORMATS: tuple[str, ...] = get_args(Format)[:2]
"""What every command prints; a few know more."""


@dataclass(slots=True)
class Settings:
    """Settings of a run; commands fill them in while their options are read."""

    format: Format = "text"
    debug: bool = False
    # Findings that did not stop the work; JSON results carry them, text shows them on stderr.
    noted: list[object] = field(default_factory=list[object])


def current() -> Settings:
    """Return the settings of the command that is running."""
    return click.get_current_context().find_root().ensure_object(Settings)


def set_format(_ctx: click.Context, _option: click.Parameter, value: str) -> Format:
    """Keep the value of --format where errors find it too."""
    chosen = cast("Format", value)
    current().format = chosen
    return chosen
