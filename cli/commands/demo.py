"""``lowbitc demo``."""

from __future__ import annotations

import click

from lowbitc.cli import options


@click.command("demo")
@options.format_option()
def command() -> None:
    """Stub."""
    raise click.UsageError("demo is not wired up yet")
