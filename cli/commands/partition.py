"""``lowbitc partition``: where each node of a model runs, why, and what that costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from lowbitc.cli import options

if TYPE_CHECKING:
    from pathlib import Path

    from lowbitc.checking import Check


@click.command("partition")
@options.model_argument()
@options.target_option()
@options.config_option()
@options.shape_option()
@options.offload_option()
@options.format_option("dot")
def command(
    model: Path,
    *,
    target: str | None,
    config: Path | None,
    shapes: tuple[str, ...],
    offload: str | None,
) -> None:
    """Show where each node of a model runs, why, and what it costs.

    No data is needed: the network is folded as for a compilation. Launches of the chip are the
    fewest that any schedule can have. --format dot draws them for Graphviz.
    """
    from lowbitc.checking import check
    from lowbitc.cli import drawn, findings, present, settings

    found = check(model, target=target, config=config, shapes=shapes, offload=offload)
    style = settings.current().format
    if style == "json":
        present.show_json({"device": found.device, **present.fields(found)})
        return
    findings.show_findings(found.diagnostics)
    if style == "dot":
        click.echo(drawn.draw(found))
    else:
        _show(found)


def _show(found: Check) -> None:
    from lowbitc.cli.present import Column, Table, show_pairs, show_table

    show_pairs(
        {
            "on the chip": f"{found.mac_share:.2%} of the multiply-accumulates, "
            f"{found.param_share:.1%} of the parameters",
            "launches": f"{found.launches} a frame; no schedule of these nodes has fewer",
            "crossing": f"{found.crossing_bytes:,} bytes a frame",
        }
    )
    click.echo()
    columns = (
        Column("node"),
        Column("operator"),
        Column("runs"),
        Column("rule"),
        Column("MACs", "right"),
        Column("parameters", "right"),
        Column("bytes crossing", "right"),
    )
    rows = tuple(
        (
            node.name,
            node.op,
            f"launch {node.launch}" if node.on_chip else "CPU",
            node.reason.partition(":")[0],
            f"{node.macs:,}",
            f"{node.params:,}",
            f"{node.crossing_bytes:,}" if node.crossing_bytes else "",
        )
        for node in found.nodes
    )
    show_table(Table(columns, rows))
    click.echo()
    for reason in dict.fromkeys(n.reason for n in found.nodes if n.reason):
        click.echo(reason)
