"""``lowbitc compare``: which layer is to blame."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from lowbitc.cli import options

if TYPE_CHECKING:
    from pathlib import Path


@click.command("compare")
@options.model_argument()
@options.program_argument()
@options.data_option()
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=128,
    show_default=True,
    metavar="N",
    help="Compare on the first N samples.",
)
@click.option(
    "--left-out",
    type=click.IntRange(min=0),
    default=16,
    show_default=True,
    metavar="N",
    help="On the first N samples, run once more for each layer with that layer exact.",
)
@click.option(
    "--suggest",
    type=options.FILE,
    metavar="OUT.toml",
    help="Write the lowbitc.toml that the comparison suggests.",
)
@click.option(
    "--calib",
    metavar="DATA",
    help="With --suggest, compile with it on these samples, and say what it buys.",
)
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    metavar="METRIC",
    help="What to measure of both networks, as `lowbitc gate` spells it; repeatable.",
)
@options.annotate_option()
@options.report_option()
@options.threads_option()
@options.format_option()
def command(  # noqa: PLR0913 - one a setting
    model: Path,
    program: Path,
    *,
    data: str,
    limit: int,
    left_out: int,
    suggest: Path | None,
    calib: str | None,
    metrics: tuple[str, ...],
    annotate: Path | None,
    page: Path | None,
    threads: int,
) -> None:
    """Say which layer of a program is to blame for what it loses.

    Each layer is run on the float network's values, and judged by what its bits could give; and
    the program is run with one layer after the other exact. Layers are named as in the model.
    """
    from lowbitc.cli import findings, present, settings
    from lowbitc.cli.compared import show_bought, show_comparison
    from lowbitc.cli.progress import progress
    from lowbitc.cli.report.writing import write_compared
    from lowbitc.comparing import compare, facts_of
    from lowbitc.simulation import load, simulate
    from lowbitc.suggesting import measure_suggestion, write_suggestion
    from lowbitc.suggesting import suggest as suggest_settings
    from lowbitc.targets.annotate import write_annotated

    if calib is not None and suggest is None:
        raise click.UsageError("--calib measures a suggestion: it needs --suggest OUT.toml")
    held = load(program)
    with progress() as told:
        found = compare(
            *(model, held, data),
            limit=limit,
            left_out=left_out,
            threads=threads,
            metrics=metrics,
            report=told,
        )
        result = found.as_json()
        bought = None
        if suggest is not None:
            suggestion = suggest_settings(found, held)
            write_suggestion(suggest, suggestion)
            result["suggestion"] = {
                "file": suggest.as_posix(),
                "changes": list(suggestion.changes),
            }
            if calib is not None:
                bought = measure_suggestion(
                    *(model, held, suggest, data, calib, found), threads=threads, report=told
                )
                result["bought"] = bought.as_json()
        if annotate is not None:
            write_annotated(model, held, annotate, facts_of(found))
        if page is not None:
            measured = simulate(held, data, limit=found.samples, threads=threads, report=told)
            write_compared(page, held, program.stem, found, measured)
    if settings.current().format == "json":
        present.show_json({**result, "diagnostics": found.diagnostics})
        return
    findings.show_findings(found.diagnostics)
    show_comparison(found)
    if suggest is not None:
        click.echo(f"\nsuggested settings: {suggest}")
    if bought is not None:
        show_bought(bought)
