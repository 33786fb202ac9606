"""A Dask cluster as what runs functions over ranges; the only place that knows Dask."""

from __future__ import annotations

import contextlib
import importlib
import logging
import warnings
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any, TypeVar, cast

from lowbitc.compiler.diagnostics import CompileError, Diagnostic, error

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence
    from types import TracebackType

    from typing_extensions import Self

    Held = TypeVar("Held")
    Made = TypeVar("Made")

_WAIT_S = 10


class Cluster:
    """A connection to a scheduler, closed at the end of a ``with``."""

    def __init__(self, address: str) -> None:
        """Connect; raises CompileError LB756 where nobody answers, LB759 without Dask."""
        self._dask = _distributed()
        try:
            with _quiet():
                self._client = self._dask.Client(address, timeout=_WAIT_S, set_as_default=False)
                self._client.wait_for_workers(1, timeout=_WAIT_S)
        except (OSError, TimeoutError, ValueError) as problem:
            raise CompileError([_unreachable(address, problem)]) from problem

    def __enter__(self) -> Self:
        """Give the connection."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it; what still runs is dropped."""
        del kind, problem, trace
        with _quiet():
            self._client.close()

    @property
    def workers(self) -> int:
        """Number of workers at this moment."""
        return max(len(cast("dict[str, object]", self._client.scheduler_info()["workers"])), 1)

    def run(
        self,
        hold: Callable[..., Held],
        arguments: tuple[object, ...],
        function: Callable[[Held, int, int], Made],
        spans: Sequence[tuple[int, int]],
    ) -> Iterator[Made]:
        """Yield ``function(hold(*arguments), start, stop)`` of each range, as they are done.

        What a lost worker had is made again elsewhere. Raises CompileError LB756 where that is
        to no avail, and whatever the functions raise.
        """
        dask = self._dask
        lost = (dask.KilledWorker, dask.comm.CommClosedError, CancelledError, TimeoutError)
        try:
            with _quiet():
                held = self._client.submit(hold, *arguments, pure=False)
                futures = [self._client.submit(function, held, *span, pure=False) for span in spans]
            for future in dask.as_completed(futures, loop=self._client.loop):
                yield cast("Made", future.result())
                future.release()
        except lost as problem:
            raise CompileError([_gave_up(problem)]) from problem


def _distributed() -> Any:  # noqa: ANN401 - it ships no types
    try:
        return importlib.import_module("distributed")
    except ImportError as problem:
        raise CompileError([_not_installed()]) from problem


@contextlib.contextmanager
def _quiet() -> Generator[None]:
    """Keep what Dask says of large tasks and closed connections from the user's terminal."""
    logger = logging.getLogger("distributed")
    level = logger.level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            logger.setLevel(level)


def _not_installed() -> Diagnostic:
    return error(
        "LB759",
        "--dask needs Dask",
        found="no package distributed",
        hint="pip install 'lowbitc[distributed]', here and on the workers",
    )


def _unreachable(address: str, problem: Exception) -> Diagnostic:
    return error(
        "LB756",
        f"no Dask cluster with workers at {address}",
        found=str(problem).splitlines()[0] if str(problem) else type(problem).__name__,
        allowed="the address of a scheduler, for example tcp://10.0.0.1:8786",
        hint="start one with `dask scheduler` and `dask worker ADDRESS`",
    )


def _gave_up(problem: Exception) -> Diagnostic:
    return error(
        "LB756",
        "the work could not be spread",
        found=f"{type(problem).__name__}: {problem}".splitlines()[0],
        allowed="workers that stay",
        hint="look at the workers' memory and logs",
    )
