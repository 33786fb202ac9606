"""Files that a verdict is written to, each in the form that its suffix names."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from lowbitc.cli.present import canonical_json
from lowbitc.cli.verdicts.github import summary
from lowbitc.cli.verdicts.junit import junit_xml
from lowbitc.cli.verdicts.sarif import sarif_text
from lowbitc.compiler.replace_file import replace_file

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping
    from pathlib import Path

    from lowbitc.verdict import Verdict


def _json_text(verdict: Verdict, _uri: str) -> str:
    return canonical_json(verdict.as_json()) + "\n"


FORMS: Mapping[str, Callable[[Verdict, str], str]] = {
    ".json": _json_text,
    ".xml": lambda verdict, _uri: junit_xml(verdict),
    ".sarif": sarif_text,
    ".md": lambda verdict, _uri: summary(verdict),
}
"""What writes a verdict, by suffix; it is given the file that results are shown at."""


def write_verdict(verdict: Verdict, paths: Iterable[Path], uri: str) -> None:
    """Write every file whole or not at all; raises OSError where one cannot be written.

    Its ``filename`` is then the file of the user's, not the one beside it.
    """
    for path in paths:
        with _named(path):
            replace_file(path, [FORMS[path.suffix](verdict, uri).encode("utf-8")])


def take_back(verdict: Verdict, paths: Iterable[Path], uri: str) -> None:
    """Leave no older verdict in any file: write this one, or remove the file."""
    for path in paths:
        if not _written(verdict, path, uri):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)


def _written(verdict: Verdict, path: Path, uri: str) -> bool:
    try:
        write_verdict(verdict, (path,), uri)
    except OSError:
        return False
    return True


@contextlib.contextmanager
def _named(path: Path) -> Generator[None]:
    try:
        yield
    except OSError as problem:
        raise OSError(problem.errno, problem.strerror or str(problem), str(path)) from problem
