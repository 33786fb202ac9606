"""``lowbitc inspect``: what a program holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from lowbitc.cli import options

if TYPE_CHECKING:
    from pathlib import Path

    from lowbitc.targets.program import Program


@click.command("inspect")
@options.program_argument()
@options.format_option()
def command(program: Path) -> None:
    """Show what a program holds.

    What made it, its inputs and outputs, what runs on the chip and what on the CPU, and where
    layers are placed. In JSON, the whole manifest.
    """
    from lowbitc.cli import present, settings
    from lowbitc.simulation import load

    held = load(program)
    if settings.current().format == "json":
        facts = {"sha256": held.digest, "size_bytes": program.stat().st_size}
        present.show_json({**facts, "manifest": held.manifest})
        return
    present.show_pairs(_summary(held, program.stat().st_size))
    _show_layers(held)
    _show_crossings(held)
    _show_host(held)


def _summary(held: Program, size_bytes: int) -> dict[str, str]:
    from lowbitc.cli.present import spell

    inputs = {f"input {p.name}": f"{p.element} {_shape(p.shape)}" for p in held.inputs}
    outputs = {f"output {p.name}": f"{p.element} {_shape(p.shape)}" for p in held.outputs}
    return {
        "network": held.name,
        "target": f"{held.target}, revision {held.target_revision}",
        "made by": f"lowbitc {held.tool_version}",
        "options": spell(held.options),
        "size": f"{size_bytes:,} bytes",
        "sha256": held.digest,
        **inputs,
        **outputs,
        **{f"state {s.input}": f"{s.output} of the sample before" for s in held.states},
        "steps": ", ".join(
            f"{index}: {'chip' if step in held.launches else 'CPU'}"
            for index, step in enumerate(held.steps)
        ),
        "passes over the chip": str(len(held.placement.passes)),
        "loaded each frame": f"{held.placement.reload_bytes:,} bytes",
    }


def _shape(shape: tuple[int, ...] | None) -> str:
    return "of any shape" if shape is None else " x ".join(str(d) for d in shape)


def _show_layers(held: Program) -> None:
    from lowbitc.cli.present import Column, Table, show_table
    from lowbitc.compiler.ir.quantized import COUNTED

    columns = (
        Column("launch", "right"),
        Column("layer"),
        Column("operator"),
        Column("NPs", "right"),
        Column("weights and stages, bytes", "right"),
        Column("activations, bytes", "right"),
    )
    placed = held.placement.of_layer()
    rows: list[tuple[str, ...]] = []
    for index, launch in enumerate(held.launches):
        for node in launch.graph.nodes:
            processors = placed.get(node.name, ())
            if isinstance(node, COUNTED) or processors:
                constants = sum(p.weight_bytes + p.stage_bytes for p in processors)
                activations = sum(p.activation_bytes for p in processors)
                counts = (str(len(processors)), f"{constants:,}", f"{activations:,}")
                rows.append((str(index), node.name, node.op, *counts))
    if rows:
        click.echo()
        show_table(Table(columns, tuple(rows)))


def _show_crossings(held: Program) -> None:
    """Show what is quantized on its way to the chip, and dequantized on its way back."""
    from lowbitc.cli.present import Column, Table, show_table
    from lowbitc.targets.crossing import crossings

    columns = (
        Column("launch", "right"),
        Column("step"),
        Column("value"),
        Column("shape"),
        Column("levels"),
        Column("scale", "right"),
        Column("bytes", "right"),
    )
    rows = tuple(
        (
            str(found.launch),
            "quantize" if found.inward else "dequantize",
            found.value,
            _shape(found.shape),
            found.element,
            f"{found.scale[0]:.4g}" if len(found.scale) == 1 else "by channel",
            f"{found.size_bytes:,}",
        )
        for found in crossings(held)
    )
    if rows:
        click.echo()
        show_table(Table(columns, rows))


def _show_host(held: Program) -> None:
    from lowbitc.cli.present import Column, Table, show_table

    nodes = [node for step in held.host_steps for node in step.nodes]
    if nodes:
        click.echo()
        columns = (Column("on the CPU"), Column("operator"), Column("because"))
        show_table(Table(columns, tuple((n.name, n.op, n.reason) for n in nodes)))
