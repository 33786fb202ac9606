"""How findings are shown: on stderr for people, on stdout as JSON for programs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from rich.text import Text

from lowbitc.cli import present, settings
from lowbitc.compiler.diagnostics import Severity

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from lowbitc.cli.exit_codes import ExitCode
    from lowbitc.compiler.diagnostics import Diagnostic

_STYLE = {Severity.ERROR: "bold red", Severity.WARNING: "bold yellow", Severity.NOTE: "bold cyan"}
_LABEL_WIDTH = len("allowed:")


def render(diagnostic: Diagnostic) -> Text:
    """Return a finding as text: the message, what was found and allowed, help, and where from."""
    head = f"{diagnostic.severity.value}[{diagnostic.code}]"
    text = Text.assemble((head, _STYLE[diagnostic.severity]), ": ", (diagnostic.message, "bold"))
    details = [
        ("found", diagnostic.found),
        ("allowed", diagnostic.allowed),
        ("help", diagnostic.hint),
        *(("from", f"{source.node} ({source.op})") for source in diagnostic.sources),
    ]
    for label, detail in details:
        if detail:
            text.append(f"\n  {label + ':':<{_LABEL_WIDTH}} {detail}")
    return text


def show_findings(diagnostics: Iterable[Diagnostic]) -> None:
    """Print findings on stderr."""
    console = present.console(sys.stderr)
    for diagnostic in diagnostics:
        console.print(render(diagnostic), soft_wrap=True)


def show_failure(diagnostics: Sequence[Diagnostic], code: ExitCode) -> None:
    """Print the findings that stopped the work, and in JSON leave a result that says so."""
    show_findings(diagnostics)
    errors = [d for d in diagnostics if d.severity is Severity.ERROR]
    if errors:
        count = f"{len(errors)} error{'s' if len(errors) > 1 else ''}"
        codes = sorted({d.code for d in errors})
        console = present.console(sys.stderr)
        console.print(f"{count}; `lowbitc explain {codes[0]}` says more", soft_wrap=True)
    if settings.current().format == "json":
        present.show_json({"diagnostics": list(diagnostics), "exit_code": code})
