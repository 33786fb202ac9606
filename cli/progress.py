"""Progress on stderr, for people only: off when stderr is not a terminal."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator

    from lowbitc.compilation import Report


@contextlib.contextmanager
def progress(*, shown: bool = True) -> Generator[Report]:
    """Give a function that is told the step at work, how much of it is done, and of how much.

    A new name of a step replaces the one before; a total of 0 stands for "not known".
    """
    if not shown or not sys.stderr.isatty():
        from lowbitc.compilation import silent

        yield silent
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from lowbitc.cli import present

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    bar = Progress(*columns, console=present.console(sys.stderr), transient=True)
    with bar:
        task = bar.add_task("", total=None)

        def report(step: str, done: int, total: int) -> None:
            bar.update(task, description=step, completed=done, total=total or None)

        yield report
