"""``lowbitc verify``: hold an engine against the answers that a program stores."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from lowbitc.cli import options

if TYPE_CHECKING:
    from pathlib import Path


@click.command("verify")
@options.program_argument()
@click.option(
    "--engine",
    type=click.Choice(("fast", "reference", "event")),
    default="fast",
    show_default=True,
    help="What is checked.",
)
@options.threads_option()
@options.format_option()
def command(program: Path, *, engine: str, threads: int) -> None:
    """Check that an engine gives the answers that a program stores.

    The compiler stores what every launch reads and makes for one sample. Where an engine gives
    other values, the first layer that differs is named. Exit code 1: values differ. 4: the
    program holds no answers.
    """
    from lowbitc.cli import present, settings
    from lowbitc.compiler.diagnostics import CompileError, error, raise_errors
    from lowbitc.simulation import load
    from lowbitc.targets.engines.answers import check_answers

    held = load(program)
    if not held.known_answers:
        hint = "compile the model again with --calib"
        raise CompileError([error("LB774", "the program holds no known answers", hint=hint)])
    raise_errors(check_answers(held, engine, threads=threads))
    values = sum(a.size for answer in held.known_answers for a in answer.outputs.values())
    count = len(held.known_answers)
    if settings.current().format == "json":
        present.show_json({"engine": engine, "launches": count, "values": values, "passed": True})
        return
    launches = f"{count} launch{'' if count == 1 else 'es'}"
    click.echo(f"{engine} gives the stored answers: {values:,} values of {launches}")
