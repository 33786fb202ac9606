"""``lowbitc gate``: pass or fail a program on data."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lowbitc.cli import gate_options, options

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from lowbitc.cli.gate_options import GateArguments
    from lowbitc.verdict import Verdict


@click.command("gate")
@click.argument("program", type=options.FILE, metavar="PROGRAM.lbc|MODEL.onnx")
@options.data_option()
@options.report_option()
@gate_options.gate_options()
def command(
    program: Path,
    *,
    data: str,
    page: Path | None,
    outputs: tuple[Path, ...],
    style: str,
    **arguments: Unpack[GateArguments],
) -> None:
    """Pass or fail a program on labelled data.

    An ONNX model is compiled first. Without --confidence figures decide; with it intervals do,
    and too few samples to tell do not pass. Results are written before the verdict is shown. Exit
    code 0: every bound is met. 1: one is not. 2: wrong use. 3: bad input. 4: nothing could be
    measured, or too few samples to tell.
    """
    from lowbitc.cli.progress import progress
    from lowbitc.cli.report.writing import write_gated
    from lowbitc.cli.verdicts.files import take_back, write_verdict
    from lowbitc.gating import unfinished, unwritten

    if page is not None and program.suffix == ".onnx":
        raise click.UsageError("--report shows a program: compile the model, and gate PROGRAM.lbc")
    uri = program.as_posix()
    verdict = unfinished(program.name, Path(data).name)
    try:
        # A run that is killed must not leave the passing result of an older one.
        write_verdict(verdict, outputs, uri)
        if page is not None:
            page.unlink(missing_ok=True)
        verdict = _judged(program, data, arguments)
        write_verdict(verdict, outputs, uri)
    except OSError as problem:
        verdict = unwritten(verdict, problem)
        take_back(verdict, outputs, uri)
    _show(verdict, style, uri)
    if page is not None and verdict.samples:
        with progress() as told:
            write_gated(page, program, data, verdict, threads=arguments["threads"], report=told)
    click.get_current_context().exit(verdict.exit_code)


def _judged(program: Path, data: str, arguments: GateArguments) -> Verdict:
    """Measure and decide; whatever stops it becomes a verdict too."""
    from lowbitc.cli import boundary
    from lowbitc.cli.exit_codes import exit_code
    from lowbitc.cli.progress import progress
    from lowbitc.compiler.diagnose import diagnose
    from lowbitc.compiler.diagnostics import Severity
    from lowbitc.gating import unmeasured

    compiles = program.suffix == ".onnx"
    try:
        held = gate_options.gate_of(arguments, compiles=compiles)
        compiling = gate_options.options_of(program, arguments, compiles=compiles)
        with progress() as told:
            return held.judge(program, data, compiling, told)
    except Exception as problem:  # noqa: BLE001 - the result must say so, whatever it is
        found = diagnose(problem)
        boundary.trace(problem)
        codes = (d.code for d in found if d.severity is Severity.ERROR)
        return unmeasured(program.name, Path(data).name, found, exit_code(codes))


def _show(verdict: Verdict, style: str, uri: str) -> None:
    from lowbitc.cli import findings
    from lowbitc.cli.verdicts.files import FORMS
    from lowbitc.cli.verdicts.github import summary, workflow_commands
    from lowbitc.cli.verdicts.text import verdict_text

    findings.show_findings(verdict.diagnostics)
    if style == "github":
        click.echo(workflow_commands(verdict, uri))
        if path := os.environ.get("GITHUB_STEP_SUMMARY"):
            with Path(path).open("a", encoding="utf-8") as stream:
                stream.write(summary(verdict))
    suffixes = {"json": ".json", "junit": ".xml", "sarif": ".sarif", "markdown": ".md"}
    text = FORMS[suffixes[style]](verdict, uri) if style in suffixes else verdict_text(verdict)
    click.echo(text.rstrip("\n"))
