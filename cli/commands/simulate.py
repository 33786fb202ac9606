"""``lowbitc simulate``."""

from __future__ import annotations

import click

from lowbitc.cli import options


@click.command("simulate")
@options.format_option()
def command() -> None:
    """Stub."""
    raise click.UsageError("simulate is not wired up yet")
