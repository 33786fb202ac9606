"""What findings an exception stands for."""

from __future__ import annotations

import traceback

from lowbitc.compiler.diagnostics import CompileError, Diagnostic, error


def diagnose(problem: Exception) -> tuple[Diagnostic, ...]:
    """Return the findings that an error stands for."""
    if isinstance(problem, CompileError):
        return problem.diagnostics
    if isinstance(problem, OSError) and problem.filename is not None:
        return (
            error(
                "LB700",
                f"{problem.filename}: {problem.strerror}",
                hint="check the path, its permissions and the space left",
            ),
        )
    return (
        error(
            "LB900",
            f"internal error: {type(problem).__name__}: {problem}",
            found=_place(problem),
            hint="run `lowbitc --debug` with the same command, and report what it prints",
        ),
    )


def _place(problem: Exception) -> str:
    """Return the innermost file and line of an exception."""
    frames = traceback.extract_tb(problem.__traceback__)
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else ""
