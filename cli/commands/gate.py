"""``lowbitc gate``: pass or fail a program on data."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from lowbitc.cli import options
from lowbitc.cli.exit_codes import ExitCode

if TYPE_CHECKING:
    from pathlib import Path


@click.command("gate")
@options.program_argument()
@options.data_option()
@click.option(
    "--metric",
    default="top1",
    show_default=True,
    metavar="top1|top5",
    help="What is measured: the label scored first, or among the first five.",
)
@click.option(
    "--min", "minimum", type=float, metavar="SHARE", help="Fail below this share of samples."
)
@click.option(
    "--reference",
    type=options.FILE,
    metavar="MODEL.onnx",
    help="The float model that --max-drop is measured from.",
)
@click.option(
    "--max-drop",
    type=float,
    metavar="SHARE",
    help="Fail where the program is worse than the float model by more than this.",
)
@options.limit_option()
@options.threads_option()
@options.format_option()
def command(  # noqa: PLR0913 - one a setting
    program: Path,
    *,
    data: str,
    metric: str,
    minimum: float | None,
    reference: Path | None,
    max_drop: float | None,
    limit: int | None,
    threads: int,
) -> None:
    """Pass or fail a program on labelled data.

    Exit code 0: every bound is met. 1: one is not. 4: nothing could be measured.
    """
    from lowbitc.cli import present, settings
    from lowbitc.cli.measured import show_verdict
    from lowbitc.cli.progress import progress
    from lowbitc.gating import gate

    with progress() as told:
        verdict = gate(
            program,
            data,
            metric=metric,
            minimum=minimum,
            reference=reference,
            max_drop=max_drop,
            limit=limit,
            threads=threads,
            report=told,
        )
    if settings.current().format == "json":
        present.show_json(verdict.as_json())
    else:
        show_verdict(verdict)
    click.get_current_context().exit(ExitCode.DONE if verdict.passed else ExitCode.NOT_MET)
