"""``lowbitc learn``: let a program take in examples on the simulated chip."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from lowbitc.cli import options

if TYPE_CHECKING:
    from pathlib import Path

_RATE = click.FloatRange(0, 1)


@click.command("learn")
@options.program_argument()
@options.data_option()
@options.output_option("Where the program that learned goes.", required=True)
@click.option(
    "--connections",
    type=click.IntRange(min=1),
    metavar="N",
    help="Connections of each neuron; 1.2 times the median of active features when left out.",
)
@click.option(
    "--competition",
    type=_RATE,
    default=0.0,
    show_default=True,
    help="How much a neuron that has learned keeps others from learning what is like it.",
)
@click.option(
    "--initial-plasticity",
    type=_RATE,
    default=1.0,
    show_default=True,
    help="Share of inactive connections that move for a neuron's first example.",
)
@click.option(
    "--min-plasticity",
    type=_RATE,
    default=0.1,
    show_default=True,
    help="Share below which that never falls.",
)
@click.option(
    "--plasticity-decay",
    type=_RATE,
    default=0.25,
    show_default=True,
    help="How much of the initial share is lost with each example.",
)
@options.threads_option()
@options.format_option()
def command(  # noqa: PLR0913 - one a setting
    program: Path,
    *,
    data: str,
    output: Path,
    connections: int | None,
    competition: float,
    initial_plasticity: float,
    min_plasticity: float,
    plasticity_decay: float,
    threads: int,
) -> None:
    """Teach a program new classes from a few examples.

    Labelled examples are learned in their order, on the simulated chip. The program must have been
    compiled with --learn. Nothing but its learning layer changes, and what was learned before is
    kept.
    """
    from lowbitc.cli import present, settings
    from lowbitc.learning import learn
    from lowbitc.targets.learning.rule import Plasticity

    rule = Plasticity(initial_plasticity, min_plasticity, plasticity_decay, competition)
    found = learn(program, data, connections=connections, plasticity=rule, threads=threads)
    found.program.save(output)
    if settings.current().format == "json":
        present.show_json({"program": output.as_posix(), **found.as_json()})
        return
    taught = sum(1 for used in found.neurons if used)
    present.show_pairs(
        {
            "program": output.as_posix(),
            "examples": f"{found.examples:,}",
            "classes": f"{taught} of {found.classes} have learned something",
            "neurons": f"{sum(found.neurons):,} of {found.classes * found.per_class:,} in use, "
            f"{found.connections} connections each",
        }
    )
