"""``lowbitc compile``: from a float ONNX model to a program for the chip."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from lowbitc.cli import options

if TYPE_CHECKING:
    from pathlib import Path

    from typing_extensions import Unpack

    from lowbitc.cli.arguments import SearchArguments
    from lowbitc.cli.present import Table
    from lowbitc.cli.watch import Watch


@click.command("compile")
@options.model_argument()
@options.output_option("Where the program goes; beside the model when left out.")
@options.compile_options()
@options.search_options()
@click.option(
    "--learn",
    metavar="CLASSES[:NEURONS]",
    help="Put a layer for `lowbitc learn` in place of the last dense layer.",
)
@click.option(
    "--verify-numerics",
    is_flag=True,
    help="Run the graph before and after each pass on a sample, and compare.",
)
@click.option("--timings", is_flag=True, help="Say how long each pass took.")
@click.option(
    "--dump-after",
    "dumps",
    multiple=True,
    metavar="PASS",
    help="Print the graph after this pass; repeatable.",
)
@options.annotate_option()
@options.format_option()
def command(
    model: Path,
    *,
    output: Path | None,
    learn: str | None,
    verify_numerics: bool,
    timings: bool,
    dumps: tuple[str, ...],
    annotate: Path | None,
    **arguments: Unpack[SearchArguments],
) -> None:
    """Compile a float ONNX model into a program for the chip.

    Without --calib, samples come from MODEL.calib.npz or lowbitc.toml beside the model; if there
    are none, ranges come from the batch-norm statistics and the weights, which costs accuracy.

    --bits auto chooses bits for each layer within a bound, such as --max-drop 0.01; besides the
    program it writes a lowbitc.toml to read, edit and compile with (--config).
    """
    from lowbitc.advising import advise
    from lowbitc.cli import findings, present, searched, settings
    from lowbitc.cli.made import show_advice, summary
    from lowbitc.cli.progress import progress
    from lowbitc.cli.watch import Watch
    from lowbitc.compilation import compile_with
    from lowbitc.options import settle
    from lowbitc.simulation import load
    from lowbitc.targets.annotate import write_annotated

    bounds, plain = searched.divide(arguments)
    path = output or model.with_suffix(".lbc")
    if plain["bits"] == searched.AUTO:
        if learn or verify_numerics or timings or dumps:
            raise click.UsageError(
                "--learn, --verify-numerics, --timings and --dump-after go with fixed bits: "
                "compile with the lowbitc.toml that --bits auto writes"
            )
        searched.search_bits(model, path, bounds, plain)
        if annotate is not None:
            write_annotated(model, load(path), annotate, {})
        return
    settled = settle(model, **plain, learn=learn)
    watch = Watch(verify=verify_numerics, dumps=dumps, threads=settled.threads)
    with progress() as told:
        made = compile_with(model, settled, hook=watch.hook, report=told)
    watch.check_dumps()
    made.program.save(path)
    if annotate is not None:
        write_annotated(model, made.program, annotate, {})
    advices = advise(made)
    if settings.current().format == "json":
        present.show_json(
            {
                **summary(made, path),
                "diagnostics": made.diagnostics,
                "largest_errors": [advice.as_json() for advice in advices],
                **({"timings": watch.timings.rows} if timings else {}),
                **({"dumps": watch.texts} if dumps else {}),
            }
        )
        return
    findings.show_findings(made.diagnostics)
    for text in watch.texts.values():
        click.echo(text)
    if timings:
        present.show_table(timing_table(watch))
        click.echo()
    show_advice(advices)
    present.show_pairs({k: present.spell(v) for k, v in summary(made, path).items()})


def timing_table(watch: Watch) -> Table:
    """Return the time of every pass, in the order of running."""
    from lowbitc.cli.present import Column, Table

    columns = (Column("pass"), Column("ms", "right"), Column("changed"))
    return Table(
        columns,
        tuple(
            (row.name, f"{row.seconds * 1e3:.1f}", "yes" if row.changed else "")
            for row in watch.timings.rows
        ),
    )
