"""How a comparison is shown to people."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from lowbitc.bounds import shown, spelled_interval
from lowbitc.cli.measured import quantity
from lowbitc.cli.present import Column, Table, show_pairs, show_table

if TYPE_CHECKING:
    from lowbitc.comparing import ComparedLayer, Comparison
    from lowbitc.suggesting import Bought

_COLUMNS = (
    Column("blame", "right"),
    Column("layer"),
    Column("operator"),
    Column("bits", "right"),
    Column("output"),
    Column("alone, dB", "right"),
    Column("its bits give", "right"),
    Column("in the network", "right"),
    Column("cosine", "right"),
    Column("largest error", "right"),
    Column("clipped", "right"),
    Column("levels used", "right"),
    Column("dead", "right"),
    Column("exact, gains dB", "right"),
)


def show_comparison(found: Comparison) -> None:
    """Print the layers in the order of running, then the verdict."""
    show_table(Table(_COLUMNS, tuple(_row(layer) for layer in found.layers)))
    click.echo()
    output = found.output
    figures = {
        m.name: f"{shown(m.value)} ({spelled_interval(m.interval)}), float {shown(m.float_value)}"
        for m in found.metrics
        if m.float_value is not None
    }
    show_pairs(
        {
            **figures,
            "samples": f"{found.samples}, of which {found.left_out_samples} to leave layers out on",
            "outputs": f"{output.sqnr_db:.1f} dB above their error, cosine {output.cosine:.5f}",
        }
    )
    first = found.first_bad
    if first is None:
        click.echo("no layer loses more than its bits make it lose")
        top = found.ranking[0] if found.ranking else None
        if top is not None and top.left_out is not None and top.left_out.gain_db > 0:
            click.echo(f"{top.name} costs most: exact, it would gain {top.left_out.gain_db:.1f} dB")
        return
    click.echo(f"first bad layer: {_named(first)}")
    for layer in found.ranking:
        if layer.bad:
            click.echo(f"  {layer.name}: {layer.cause} ({layer.excess_db:.1f} dB too much error)")


def _named(layer: ComparedLayer) -> str:
    nodes = ", ".join(f"{source.node} ({source.op})" for source in layer.sources)
    return f"{layer.name}, from {nodes}" if nodes else layer.name


def _row(layer: ComparedLayer) -> tuple[str, ...]:
    errors, use = layer.errors, layer.errors.use
    return (
        f"{layer.rank}{' !' if layer.bad else ''}",
        layer.name,
        layer.op,
        str(layer.weight_bits or ""),
        layer.output,
        f"{errors.local.sqnr_db:.1f}",
        f"{errors.expected_db:.1f}",
        f"{errors.accumulated.sqnr_db:.1f}",
        f"{errors.accumulated.cosine:.4f}",
        f"{errors.accumulated.max_error:.3g}",
        f"{use.clipped_share:.2%}" if use else "",
        f"{use.used_levels}/{use.levels}" if use else "",
        f"{use.dead_channels}/{use.channels}" if use and use.channels else "",
        f"{layer.left_out.gain_db:+.2f}" if layer.left_out else "",
    )


def show_bought(bought: Bought) -> None:
    """Print what a suggestion changes, measured on the same samples."""
    pairs = {
        name: f"{before:.2%} -> {bought.metrics_after[name]:.2%}"
        for name, before in bought.metrics_before.items()
        if name in bought.metrics_after
    }
    before, after = bought.output_sqnr_db_before, bought.output_sqnr_db_after
    show_pairs(
        {
            **pairs,
            "outputs": f"{before:.1f} dB -> {after:.1f} dB above their error",
            "size": f"{bought.size_bytes_before:,} -> {bought.size_bytes_after:,} bytes",
            "energy a frame, by the model": f"{quantity(bought.energy_j_before)}J -> "
            f"{quantity(bought.energy_j_after)}J",
        }
    )
