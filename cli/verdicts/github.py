"""The verdict for GitHub: annotations by workflow commands, and a summary in Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lowbitc.bounds import shown, spelled_interval
from lowbitc.cli.verdicts.text import verdict_line
from lowbitc.compiler.diagnostics import Severity
from lowbitc.verdict import Outcome

if TYPE_CHECKING:
    from lowbitc.verdict import Verdict

_SIGNS = {
    Outcome.PASSED: "✅",
    Outcome.FAILED: "❌",
    Outcome.UNDECIDED: "❔",
    Outcome.UNMEASURED: "⚠️",
}
_COMMANDS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "notice"}


def workflow_commands(verdict: Verdict, uri: str) -> str:
    """Return a workflow command for everything that a reviewer should see, one a line."""
    lines = [
        _command(_COMMANDS[d.severity], uri, d.code, f"{d.message}: {d.found}".rstrip(": "))
        for d in verdict.diagnostics
    ]
    lines += [
        _command("error", uri, f"lowbitc gate: {check.name}", check.message)
        for check in verdict.checks
        if check.outcome is not Outcome.PASSED
    ]
    if verdict.passed:
        lines.append(_command("notice", uri, "lowbitc gate", verdict_line(verdict)))
    return "\n".join(lines)


def summary(verdict: Verdict) -> str:
    """Return the verdict as Markdown, for the summary of a job or a comment."""
    lines = [
        f"### {_SIGNS[verdict.outcome]} {verdict_line(verdict)}: {_cell(verdict.program.name)}"
    ]
    if verdict.metrics:
        measured_on = f"{verdict.samples:,} samples of `{_cell(verdict.data.name)}`"
        lines += [
            "",
            f"{measured_on}, intervals at {verdict.confidence:.0%}",
            "",
            "| metric | program | interval | float | drop | interval of the drop |",
            "| --- | ---: | ---: | ---: | ---: | ---: |",
        ]
    for m in verdict.metrics:
        cells = (
            m.name,
            shown(m.value),
            spelled_interval(m.interval),
            "" if m.float_value is None else shown(m.float_value),
            "" if m.drop is None else shown(m.drop),
            "" if m.drop_interval is None else spelled_interval(m.drop_interval),
        )
        lines.append("| " + " | ".join(_cell(cell) for cell in cells) + " |")
    if verdict.checks:
        lines += ["", "| | bound | |", "| --- | --- | --- |"]
    lines += [
        f"| {_SIGNS[c.outcome]} | {_cell(c.name)} | {_cell(c.message)} |" for c in verdict.checks
    ]
    if verdict.diagnostics:
        lines += ["", "| | code | |", "| --- | --- | --- |"]
    lines += [
        f"| {d.severity.value} | {d.code} | {_cell(d.message)}: {_cell(d.found)} |"
        for d in verdict.diagnostics
    ]
    return "\n".join(lines) + "\n"


def _command(kind: str, uri: str, title: str, message: str) -> str:
    return f"::{kind} file={_property(uri)},title={_property(title)}::{_data(message)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")
