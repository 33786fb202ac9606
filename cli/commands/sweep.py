"""``lowbitc sweep``: accuracy, size and energy over bits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from lowbitc.cli import options

if TYPE_CHECKING:
    from pathlib import Path

    from lowbitc.cli.present import Table
    from lowbitc.sweeping import Point, Sweep


@click.command("sweep")
@options.model_argument()
@click.option(
    "--calib",
    metavar="DATA",
    help="Samples to calibrate on; beside the model or in lowbitc.toml when left out.",
)
@click.option(
    "--data",
    metavar="DATA",
    help="Labelled samples to measure on; a quarter of the calibration samples, without labels, "
    "when left out.",
)
@click.option(
    "--metric",
    default="top1",
    show_default=True,
    metavar="METRIC",
    help="With --data: what is measured; see docs/gate.md.",
)
@click.option(
    "--bits",
    "settings_",
    multiple=True,
    metavar="A/B/C",
    help="A setting to measure; repeatable. Of eight, from 8/8/8 to 1/1/1, those that the target "
    "holds, when left out.",
)
@click.option(
    "--mixes",
    type=click.IntRange(min=0),
    default=4,
    show_default=True,
    metavar="N",
    help="Measure so many mixes of bits by layer, too.",
)
@click.option(
    "--write-configs",
    type=options.FILE,
    metavar="FOLDER",
    help="Write a lowbitc.toml for each mix.",
)
@options.target_option()
@options.config_option()
@options.shape_option()
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    metavar="N",
    help="Calibrate on the first N samples; 512 when left out.",
)
@options.threads_option()
@options.format_option()
def command(  # noqa: PLR0913 - one a setting
    model: Path,
    *,
    calib: str | None,
    data: str | None,
    metric: str,
    settings_: tuple[str, ...],
    mixes: int,
    write_configs: Path | None,
    target: str | None,
    config: Path | None,
    shapes: tuple[str, ...],
    limit: int | None,
    threads: int,
) -> None:
    """Compile a model at many bits, and compare loss, size and energy.

    Each setting is compiled with the whole recipe, and its program measured. Settings on the
    front are those that no other beats in loss, size and energy at once.
    """
    from lowbitc.cli import findings, present, settings
    from lowbitc.cli.progress import progress
    from lowbitc.options import settle
    from lowbitc.sweeping import sweep_with

    settled = settle(
        model,
        calib=calib,
        target=target,
        config=config,
        shapes=shapes,
        limit=limit,
        threads=threads,
        search=True,
    )
    with progress() as told:
        found = sweep_with(
            model,
            settled,
            data=data,
            metric=metric,
            settings=settings_,
            mixes=mixes,
            report=told,
        )
    if write_configs is not None:
        _write_configs(found, write_configs)
    if settings.current().format == "json":
        present.show_json({**found.as_json(), "diagnostics": found.diagnostics})
        return
    findings.show_findings(found.diagnostics)
    present.show_table(_table(found))
    click.echo()
    measure = found.metric if found.labelled else "the expected drop (no labels)"
    kept = "calibration samples that were kept apart" if data is None else f"samples of {data}"
    click.echo(
        f"Losses are of {measure} on {found.samples} {kept}; energy and NPs are by the chip's cost "
        "model."
    )
    trained = [point.name for point in found.points if point.needs_training]
    if trained:
        click.echo(
            f"{', '.join(trained)}: rounding a trained network does not reach such bits; train it "
            "for them, or take a mix."
        )


def _write_configs(found: Sweep, folder: Path) -> None:
    from lowbitc.mix_config import spell_found

    folder.mkdir(parents=True, exist_ok=True)
    for point in found.points:
        if point.found is not None:
            path = folder / f"{point.name.replace(' ', '')}.lowbitc.toml"
            path.write_text(spell_found(point.found, found.options), encoding="utf-8")


def _table(found: Sweep) -> Table:
    from lowbitc.cli.present import Column, Table

    titles = (found.metric if found.labelled else "as float", "drop", "bytes", "energy", "NPs")
    columns = (Column("bits"), *(Column(title, "right") for title in titles), Column("front"))
    return Table(columns, tuple(_row(point) for point in found.points))


def _row(point: Point) -> tuple[str, ...]:
    from lowbitc.cli.measured import quantity

    trial = point.trial
    mixed = f" ({point.found.chosen.mix.narrowed} layers narrower)" if point.found else ""
    return (
        f"{point.name}{mixed}",
        f"{trial.agreement if trial.value is None else trial.value:.2%}",
        f"{trial.drop:.4f}",
        f"{trial.size_bytes:,}",
        f"{quantity(trial.energy_j)}J",
        str(trial.processors),
        "yes" if point.front else "",
    )
