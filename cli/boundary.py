"""The outermost handler: an error leaves as findings on stderr and an exit code."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from lowbitc.cli import settings

if TYPE_CHECKING:
    from types import TracebackType


class Boundary:
    """A context in which errors become findings, and findings become an exit code.

    What click or the interpreter handle themselves (wrong use, ctx.exit, Ctrl-C, a closed pipe)
    passes through.
    """

    def __enter__(self) -> None:
        """Enter the context."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        """Report ``error`` and leave with its code."""
        del kind, where
        passes = (click.exceptions.Exit, click.Abort, click.ClickException, BrokenPipeError)
        if not isinstance(error, Exception) or isinstance(error, passes):
            return
        from lowbitc.cli.exit_codes import exit_code
        from lowbitc.cli.findings import show_failure
        from lowbitc.compiler.diagnose import diagnose
        from lowbitc.compiler.diagnostics import Severity

        found = diagnose(error)
        code = exit_code(d.code for d in found if d.severity is Severity.ERROR)
        show_failure(found, code)
        trace(error)
        raise click.exceptions.Exit(code) from error


def trace(error: Exception) -> None:
    """Print where an error came from, under --debug."""
    if settings.current().debug:
        import traceback

        click.echo("".join(traceback.format_exception(error)), err=True, nl=False)
