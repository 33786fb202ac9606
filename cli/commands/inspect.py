"""``lowbitc inspect``."""

from __future__ import annotations

import click

from lowbitc.cli import options


@click.command("inspect")
@options.format_option()
def command() -> None:
    """Stub."""
    raise click.UsageError("inspect is not wired up yet")
