"""Findings as values: one shape for terminal, JSON, SARIF and JUnit."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class Severity(enum.Enum):
    """How much a diagnostic matters."""

    NOTE = "note"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True, order=True)
class Source:
    """Where in the user's model a thing came from; survives every pass."""

    node: str
    op: str


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One finding.

    ``code`` is in the catalogue of ``lowbitc.compiler.codes``. ``found`` and ``allowed`` are
    short facts, ``hint`` is what the user can do.
    """

    code: str
    severity: Severity
    message: str
    sources: tuple[Source, ...] = ()
    found: str = ""
    allowed: str = ""
    hint: str = ""


def error(
    code: str,
    message: str,
    *,
    sources: Iterable[Source] = (),
    found: str = "",
    allowed: str = "",
    hint: str = "",
) -> Diagnostic:
    """Make an error finding."""
    return Diagnostic(code, Severity.ERROR, message, tuple(sources), found, allowed, hint)


def warning(
    code: str,
    message: str,
    *,
    sources: Iterable[Source] = (),
    found: str = "",
    allowed: str = "",
    hint: str = "",
) -> Diagnostic:
    """Make a warning finding."""
    return Diagnostic(code, Severity.WARNING, message, tuple(sources), found, allowed, hint)


def note(
    code: str,
    message: str,
    *,
    sources: Iterable[Source] = (),
    found: str = "",
    hint: str = "",
) -> Diagnostic:
    """Make a note: something the user may want to know."""
    return Diagnostic(code, Severity.NOTE, message, tuple(sources), found, "", hint)


class CompileError(Exception):
    """Work stopped for reasons the user can mend; ``diagnostics`` holds all, not the first."""

    def __init__(self, diagnostics: Iterable[Diagnostic]) -> None:
        """Keep every finding; the text of the exception joins their messages."""
        self.diagnostics = tuple(diagnostics)
        super().__init__("; ".join(f"{d.code}: {d.message}" for d in self.diagnostics))

    def __reduce__(self) -> tuple[type[CompileError], tuple[tuple[Diagnostic, ...]]]:
        """Travel from another process with every finding."""
        return CompileError, (self.diagnostics,)


class InternalError(Exception):
    """An invariant of lowbitc itself is broken: a defect, never the user's fault."""


def raise_errors(diagnostics: Iterable[Diagnostic]) -> None:
    """Raise one CompileError with every finding when at least one of them is an error."""
    found = tuple(diagnostics)
    if any(d.severity is Severity.ERROR for d in found):
        raise CompileError(found)
