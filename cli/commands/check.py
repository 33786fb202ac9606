"""``lowbitc check``."""

from __future__ import annotations

import click

from lowbitc.cli import options


@click.command("check")
@options.format_option()
def command() -> None:
    """Stub."""
    raise click.UsageError("check is not wired up yet")
