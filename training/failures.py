"""How processes that train together end when one of them fails: all of them, with one report.

The first that fails leaves its findings in a store that all can read, and reports them itself. A
thread in each of the others looks there, since a process that waits for a sum of gradients cannot.
"""

from __future__ import annotations

import atexit
import contextlib
import pickle
import threading
import time
from typing import TYPE_CHECKING, cast

from torch.distributed import DistError

from lowbitc.compiler.diagnose import diagnose
from lowbitc.compiler.diagnostics import CompileError, error

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from torch.distributed.distributed_c10d import Store

    from lowbitc.compiler.diagnostics import Diagnostic

    Ending = Callable[[tuple[Diagnostic, ...]], None]
    """Ends this process as the one that failed with these findings ends, and does not return."""

_LOOK_S = 0.05
_WAIT_S = 5.0
_CLAIMED, _FOUND, _TOLD = "claimed", "found", "told"
_LOST = ("gloo", "Connection closed by peer", "Connection reset by peer", "NCCL")
"""How backends spell that a process is gone, where they raise nothing but RuntimeError."""


class Failures:
    """What one process knows of the failures of all; ``end`` ends it when another failed."""

    def __init__(self, store: Store, rank: int, size: int, end: Ending) -> None:
        """Begin to look."""
        self.store, self.rank, self.size, self.end = store, rank, size, end
        self.stopped = threading.Event()
        self.watcher = threading.Thread(target=self._watch, daemon=True)
        self.watcher.start()

    @contextlib.contextmanager
    def reported(self) -> Generator[None]:
        """Let an exception out of the first process that fails, and end the others.

        What says that another process is gone becomes CompileError LB796.
        """
        try:
            yield
        except Exception as problem:
            if _is_lost(problem):
                lost = CompileError([lost_process(str(problem))])
                self._report(lost)
                raise lost from problem
            self._report(problem)
            raise
        finally:
            self.stopped.set()

    def _report(self, problem: Exception) -> None:
        """Leave findings for the others; where another failed before, end as it does."""
        with contextlib.suppress(RuntimeError):  # the store is gone with who held it
            if self.store.add(_CLAIMED, 1) > 1:
                self.watcher.join(2 * _WAIT_S)  # which ends this process, unless the other is gone
            self.stopped.set()
            self.watcher.join()
            self.store.set(_FOUND, pickle.dumps(diagnose(problem)).hex())
            others = [f"seen/{rank}" for rank in range(self.size) if rank != self.rank]
            self._wait_for(others)
            atexit.register(self._tell)

    def _tell(self) -> None:
        """Let the others go, once this process has reported."""
        with contextlib.suppress(RuntimeError):
            self.store.set(_TOLD, "")

    def _wait_for(self, keys: list[str]) -> None:
        """Wait a little; what never comes was killed, or is at work for long."""
        until = time.monotonic() + _WAIT_S
        while not self.store.check(keys) and time.monotonic() < until:
            time.sleep(_LOOK_S)

    def _watch(self) -> None:
        """Look for findings of another process, and end with it."""
        found: tuple[Diagnostic, ...] | None = None
        with contextlib.suppress(RuntimeError):
            while not self.store.check([_FOUND]):
                if self.stopped.wait(_LOOK_S):
                    return
            # Written by a process of this very run.
            held = bytes.fromhex(self.store.get(_FOUND).decode())
            found = cast("tuple[Diagnostic, ...]", pickle.loads(held))  # noqa: S301
            self.store.set(f"seen/{self.rank}", "")
            self._wait_for([_TOLD])
        if found is not None:
            self.end(found)


def _is_lost(problem: Exception) -> bool:
    known = isinstance(problem, RuntimeError) and any(text in str(problem) for text in _LOST)
    return known or isinstance(problem, DistError)


def lost_process(found: str) -> Diagnostic:
    """Make the finding that a process cannot be reached."""
    return error(
        "LB796",
        "another process of this training run ended, or cannot be reached",
        found=found.partition("\n")[0],
        allowed="processes of one run that stay to its end",
        hint="see what that process said and why it ended; with --checkpoint the run goes on "
        "from its last epoch",
    )


def other_run(ranks: list[int]) -> Diagnostic:
    """Make the finding that processes were given something else to train."""
    return error(
        "LB796",
        "the processes of this training run do not train the same",
        found=f"process 0 has other data or settings than {', '.join(map(str, ranks))}",
        allowed="the same command and the same data everywhere",
        hint="start all of them with one torchrun command, on machines that hold the same files",
    )
