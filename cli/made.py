"""How a program that was just made is summed up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from lowbitc.advising import Advice
    from lowbitc.compilation import Compilation


def summary(made: Compilation, path: Path) -> dict[str, object]:
    """Return what was made, in short."""
    program = made.program
    return {
        "program": path.as_posix(),
        "size_bytes": path.stat().st_size,
        "sha256": program.digest,
        "target": program.target,
        "options": program.options,
        "launches": len(program.launches),
        "host_nodes": sum(len(step.nodes) for step in program.host_steps),
        "processors": program.placement.most_processors,
    }


def show_advice(advices: Sequence[Advice]) -> None:
    """Print the layers that lost most, and what to put into lowbitc.toml; nothing if none did."""
    from lowbitc.advising import entries
    from lowbitc.cli.present import Column, Table, show_table
    from lowbitc.compiler.config import Config
    from lowbitc.compiler.write_config import spell_config

    if not advices:
        return
    columns = (
        Column("largest errors"),
        Column("of its"),
        Column("bits", "right"),
        Column("error", "right"),
        Column("try"),
    )
    rows = tuple(
        (a.layer, a.measured.value, str(a.bits), f"{a.error:.1%}", a.attempt) for a in advices
    )
    show_table(Table(columns, rows))
    click.echo(
        "Squared error over power, by each layer itself; `lowbitc compare` says how much of it "
        "reaches the outputs."
    )
    held = entries(advices)
    if held:
        click.echo("In lowbitc.toml:\n")
        click.echo(spell_config(Config(layers=held)))
