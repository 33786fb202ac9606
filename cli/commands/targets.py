"""``lowbitc targets``: the chips and what they can do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from lowbitc.cli import options

if TYPE_CHECKING:
    from lowbitc.targets.spec import Target


@click.command("targets")
@click.argument("name", required=False)
@options.format_option()
def command(name: str | None) -> None:
    """List the chips and what they can do.

    With the NAME of a chip: its memories, its rules, and the figures of its cost model with their
    sources.
    """
    from lowbitc.cli import present, settings
    from lowbitc.targets.registry import TARGETS, load_target

    chips = [load_target(known) for known in ([name] if name else TARGETS)]
    if settings.current().format == "json":
        present.show_json([_facts(chip) for chip in chips])
    elif name:
        _show(chips[0])
    else:
        _show_all(chips)


def _facts(chip: Target) -> dict[str, object]:
    from lowbitc.cli.present import fields

    rules = [{**fields(rule), "check": None} for rule in chip.rules]
    for rule in rules:
        del rule["check"]
    return {**fields(chip), "rules": rules}


def _show_all(chips: list[Target]) -> None:
    from lowbitc.cli.present import Column, Table, show_table

    columns = (
        Column("target"),
        Column("NPs", "right"),
        Column("weight bits"),
        Column("activation bits"),
        Column("what it is"),
    )
    rows = tuple(
        (
            chip.name,
            str(chip.mesh.processors),
            _widths(chip.weight_bits),
            _widths(chip.activation_bits),
            chip.title,
        )
        for chip in chips
    )
    show_table(Table(columns, rows))


def _show(chip: Target) -> None:
    from lowbitc.cli.present import Column, Table, fields, show_pairs, show_table

    memory = {
        f"{k.replace('_', ' ')} an NP": _value(v) for k, v in fields(chip.mesh.memory).items()
    }
    show_pairs(
        {
            "target": f"{chip.title} (revision {chip.revision})",
            "mesh": f"{chip.mesh.width} x {chip.mesh.height} places, {chip.mesh.processors} NPs",
            **memory,
            "first layer's weight bits": _widths(chip.first_weight_bits),
            "weight bits": _widths(chip.weight_bits),
            "activation bits": _widths(chip.activation_bits),
            "signed activation bits": _widths(chip.signed_activation_bits),
            "operators": ", ".join(sorted(chip.operators)),
        }
    )
    click.echo()
    rules = tuple((rule.code, ", ".join(rule.ops), rule.text) for rule in chip.rules)
    show_table(Table((Column("rule"), Column("operators"), Column("what is allowed")), rules))
    click.echo()
    columns = (
        Column("cost model"),
        Column("value", "right"),
        Column("unit"),
        Column("basis"),
        Column("source"),
    )
    figures = tuple(
        (name, f"{figure.value:g}", figure.unit, figure.basis, figure.source)
        for name, figure in chip.figures.items()
    )
    show_table(Table(columns, figures))


def _widths(widths: tuple[int, ...]) -> str:
    return ", ".join(str(width) for width in widths)


def _value(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
