"""``lowbitc check``: what of a model runs on the chip, and why the rest does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from lowbitc.cli import options

if TYPE_CHECKING:
    from pathlib import Path

    from lowbitc.checking import Check, CheckedNode


@click.command("check")
@options.model_argument()
@options.target_option()
@options.config_option()
@options.shape_option()
@options.offload_option()
@click.option("--strict", is_flag=True, help="Exit with 1 when any node stays on the CPU.")
@options.format_option()
@click.pass_context
def command(
    ctx: click.Context,
    model: Path,
    *,
    target: str | None,
    config: Path | None,
    shapes: tuple[str, ...],
    offload: str | None,
    strict: bool,
) -> None:
    """Say what of a model runs on the chip, without data.

    The network is folded as for a compilation, and every node held against the chip's rules; all
    findings are listed.
    """
    from lowbitc.checking import check
    from lowbitc.cli import findings, present, settings
    from lowbitc.cli.exit_codes import ExitCode

    found = check(model, target=target, config=config, shapes=shapes, offload=offload)
    if settings.current().format == "json":
        present.show_json({"device": found.device, **present.fields(found)})
    else:
        findings.show_findings(found.diagnostics)
        _show(found)
    if strict and not all(node.on_chip for node in found.nodes):
        ctx.exit(ExitCode.NOT_MET)


def _show(found: Check) -> None:
    from lowbitc.cli.present import Column, Table, show_table

    host = [node for node in found.nodes if not node.on_chip]
    click.echo(
        f"{len(found.nodes) - len(host)} of {len(found.nodes)} nodes run on {found.target}: "
        f"{found.mac_share:.1%} of the multiply-accumulates, "
        f"{found.param_share:.1%} of the parameters, "
        f"{found.launches} launch{'' if found.launches == 1 else 'es'} a frame, "
        f"{found.crossing_bytes:,} bytes crossing."
    )
    if not host:
        return
    click.echo()
    columns = (Column("on the CPU"), Column("operator"), Column("because"))
    rows = tuple(
        ("" if number else node.name, "" if number else node.op, reason)
        for node in host
        for number, reason in enumerate(_reasons(node))
    )
    show_table(Table(columns, rows))
    hints = {
        finding.code: finding.hint for node in host for finding in node.findings if finding.hint
    }
    click.echo()
    for code, hint in sorted(hints.items()):
        click.echo(f"{code}: {hint}")


def _reasons(node: CheckedNode) -> list[str]:
    """Return all that keeps a node off the chip."""
    broken = [
        f"{f.code}: {f.message}" + f" (found {f.found})" * bool(f.found) for f in node.findings
    ]
    return broken or [node.reason]
