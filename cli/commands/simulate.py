"""``lowbitc simulate``: run a program on the simulated chip."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from lowbitc.cli import gate_options, options

if TYPE_CHECKING:
    from pathlib import Path


@click.command("simulate")
@options.program_argument()
@options.data_option()
@options.engine_option()
@options.limit_option()
@options.threads_option()
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    metavar="METRIC",
    help="What to measure, as `lowbitc gate` spells it; repeatable. Top-1 and top-5 when left out.",
)
@click.option(
    "--outputs",
    type=options.FILE,
    metavar="OUT.npz",
    help="Write the network's outputs, named as the model names them.",
)
@gate_options.spread_options()
@options.report_option()
@click.option(
    "--training-log",
    type=options.FILE,
    metavar="LOG",
    help="With --report: show the curves of the training run whose log this is (tune --log).",
)
@options.format_option()
def command(  # noqa: PLR0913 - one a setting
    program: Path,
    *,
    data: str,
    engine: str,
    limit: int | None,
    threads: int,
    metrics: tuple[str, ...],
    outputs: Path | None,
    jobs: int,
    dask: str,
    page: Path | None,
    training_log: Path | None,
) -> None:
    """Run a program on the simulated chip and measure it.

    Accuracy is measured when the data has labels. Events are counted; cycles and energy are
    estimated from them by the chip's cost model, and are no measurement.
    """
    from lowbitc.cli import present, settings
    from lowbitc.cli.measured import show_simulation
    from lowbitc.cli.progress import progress
    from lowbitc.cli.report.writing import write_simulated
    from lowbitc.simulation import load, simulate
    from lowbitc.spreading import Spread
    from lowbitc.training.records import read_log

    if training_log is not None and page is None:
        raise click.UsageError("--training-log is shown on a page: it needs --report OUT.html")
    training = () if training_log is None else read_log(training_log)
    with progress() as told:
        found = simulate(
            program,
            data,
            engine=engine,
            limit=limit,
            threads=threads,
            metrics=metrics,
            keep_outputs=outputs is not None,
            spread=Spread(jobs, dask),
            report=told,
        )
        if page is not None:
            held = load(program)
            write_simulated(
                page,
                held,
                program.stem,
                data,
                found,
                training=training,
                threads=threads,
                report=told,
            )
    if outputs is not None and found.outputs is not None:
        import numpy as np

        # numpy adds .npz to a path that lacks it, so that the file would not be where it was asked.
        with outputs.open("wb") as stream:
            np.savez(stream, allow_pickle=False, **found.outputs)
    if settings.current().format == "json":
        present.show_json(found.as_json())
    else:
        show_simulation(found)
