"""``--bits auto``: run the search, write what it found, and show it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from lowbitc.cli.measured import quantity

if TYPE_CHECKING:
    from pathlib import Path

    from lowbitc.cli.arguments import Arguments, Bounding, SearchArguments
    from lowbitc.cli.present import Table
    from lowbitc.searching import Found
    from lowbitc.walking import Tried

AUTO = "auto"


def divide(arguments: SearchArguments) -> tuple[Bounding, Arguments]:
    """Part the options of a search from those of every compilation.

    Raises UsageError where they are given without --bits auto.
    """
    bounds: Bounding = {
        "max_drop": arguments["max_drop"],
        "max_size": arguments["max_size"],
        "max_energy": arguments["max_energy"],
        "max_nps": arguments["max_nps"],
        "data": arguments["data"],
        "metric": arguments["metric"],
        "write_config": arguments["write_config"],
    }
    plain: Arguments = {
        "calib": arguments["calib"],
        "bits": arguments["bits"],
        "target": arguments["target"],
        "config": arguments["config"],
        "shapes": arguments["shapes"],
        "clip": arguments["clip"],
        "weights": arguments["weights"],
        "mode": arguments["mode"],
        "limit": arguments["limit"],
        "threads": arguments["threads"],
        "offload": arguments["offload"],
        "states": arguments["states"],
    }
    given = [name for name, held in bounds.items() if held is not None and name != "metric"]
    if plain["bits"] != AUTO and given:
        option = given[0].replace("_", "-")
        raise click.UsageError(f"--{option} goes with --bits auto")
    return bounds, plain


def search_bits(model: Path, output: Path, bounds: Bounding, arguments: Arguments) -> None:
    """Search, save the program and its lowbitc.toml, and print what was found."""
    from lowbitc.cli import findings, present, settings
    from lowbitc.cli.progress import progress
    from lowbitc.mix_config import spell_found
    from lowbitc.options import settle
    from lowbitc.searching import search_with
    from lowbitc.walking import Bounds

    plain: Arguments = {**arguments, "bits": None}
    options = settle(model, **plain, search=True)
    asked = Bounds(bounds["max_drop"], bounds["max_size"], bounds["max_energy"], bounds["max_nps"])
    with progress() as told:
        found = search_with(
            model, options, asked, data=bounds["data"], metric=bounds["metric"], report=told
        )
    path = bounds["write_config"] or output.with_suffix(".lowbitc.toml")
    path.write_text(spell_found(found, options), encoding="utf-8")
    found.chosen.trial.made.program.save(output)
    if settings.current().format == "json":
        present.show_json(
            {
                **found.as_json(),
                "config": path.as_posix(),
                "program": output.as_posix(),
                "sha256": found.chosen.trial.made.program.digest,
                "diagnostics": found.diagnostics,
            }
        )
        return
    findings.show_findings(found.diagnostics)
    present.show_table(_layers(found))
    click.echo()
    present.show_table(_tried(found))
    click.echo()
    present.show_pairs({"program": output.as_posix(), "bits": f"{path.as_posix()} (--config)"})


def _layers(found: Found) -> Table:
    """Return the widths of every layer that has some to choose, and what they cost alone."""
    from lowbitc.cli.present import Column, Table
    from lowbitc.passes.measure_sensitivity import Part

    costs = {(s.layer, s.part, s.width): s.divergence for s in found.path.sensitivities}
    parts = {(s.layer, s.part) for s in found.path.sensitivities}
    rows: list[tuple[str, ...]] = []
    for layer in dict.fromkeys(s.layer for s in found.path.sensitivities):
        cells = [layer]
        for part in Part:
            width = found.path.width(found.chosen.mix, layer, part)
            cost = costs.get((layer, part, width))
            cells += [
                str(width) if (layer, part) in parts else "",
                "" if cost is None else f"{cost:.2g}",
            ]
        rows.append(tuple(cells))
    columns = (
        Column("layer"),
        Column("weights", "right"),
        Column("costs alone", "right"),
        Column("activations", "right"),
        Column("costs alone", "right"),
    )
    return Table(columns, tuple(rows))


def _tried(found: Found) -> Table:
    """Return the mixes whose programs were made and measured."""
    from lowbitc.cli.present import Column, Table

    titles = ("layers narrower", "drop", "±", "as float", "bytes", "energy", "NPs")
    columns = (*(Column(title, "right") for title in titles), Column(""))
    return Table(columns, tuple(_row(tried, found) for tried in found.tried))


def _row(tried: Tried, found: Found) -> tuple[str, ...]:
    trial = tried.trial
    return (
        str(tried.mix.narrowed),
        f"{trial.drop:.4f}",
        "" if found.labelled else f"{trial.margin:.4f}",
        f"{trial.agreement:.1%}",
        f"{trial.size_bytes:,}",
        f"{quantity(trial.energy_j)}J",
        str(trial.processors),
        "chosen" if tried is found.chosen else "",
    )
