"""``lowbitc dump``."""

from __future__ import annotations

import click

from lowbitc.cli import options


@click.command("dump")
@options.format_option()
def command() -> None:
    """Stub."""
    raise click.UsageError("dump is not wired up yet")
