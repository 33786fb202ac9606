"""``lowbitc targets``."""

from __future__ import annotations

import click

from lowbitc.cli import options


@click.command("targets")
@options.format_option()
def command() -> None:
    """Stub."""
    raise click.UsageError("targets is not wired up yet")
