"""Measure a data set here, over processes, or on a Dask cluster: the same bits each time."""

from __future__ import annotations

import multiprocessing
import os
import secrets
import threading
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lowbitc._version import VERSION
from lowbitc.compilation import silent
from lowbitc.compiler.diagnostics import CompileError, error
from lowbitc.evaluation import Evaluator, Part, Work, merged_parts, plan

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from concurrent.futures import Future

    from lowbitc.compilation import Report
    from lowbitc.compiler.diagnostics import Diagnostic
    from lowbitc.evaluation import Plan
    from lowbitc.targets.program.program import Program

    Range = tuple[int, int]
    """Samples from, up to."""

_SHARES = 8
"""Ranges that each worker gets, so that none waits long for another at the end."""
_BREAKS = 3
"""Workers that may be lost, one after another, before the work is given up."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Where the work is done: in ``jobs`` processes, or by the workers of a Dask scheduler."""

    jobs: int = 1
    dask: str = ""


HERE = Spread()
"""In this process."""


def evaluate(
    work: Work,
    program: Program | None = None,
    *,
    limit: int | None = None,
    spread: Spread = HERE,
    report: Report = silent,
) -> Part:
    """Measure a data set, or its first ``limit`` samples; the program may be loaded already.

    Ranges of a worker that is lost are measured again by another. Raises CompileError for what
    cannot be read or measured, LB756 where workers are lost again and again, LB759 where Dask is
    not installed.
    """
    planned = plan(work, program)
    wanted = planned.samples if limit is None else min(limit, planned.samples)
    if planned.program.states:
        # Each sample needs the one before.
        spread = HERE
    if spread.dask:
        parts = _on_dask(work, planned, wanted, spread.dask)
    elif spread.jobs > 1:
        parts = _in_processes(work, planned, wanted, spread.jobs)
    else:
        parts = _here(work, planned, wanted)
    return merged_parts(_reported(parts, wanted, report))


def _reported(parts: Iterator[Part], wanted: int, report: Report) -> Iterator[Part]:
    done = 0
    for part in parts:
        done += part.samples
        report("measure", done, wanted)
        yield part


def _here(work: Work, planned: Plan, wanted: int) -> Iterator[Part]:
    evaluator = Evaluator(work, planned)
    for start, stop in ranges(wanted, planned.group, 0):
        yield evaluator.run(start, stop)


def ranges(samples: int, group: int, workers: int) -> list[Range]:
    """Cut samples into ranges of whole groups: single groups, or some for each worker."""
    groups = -(-samples // group)
    size = group * max(groups // (workers * _SHARES), 1) if workers else group
    return [(start, min(start + size, samples)) for start in range(0, samples, size)]


# --- processes -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Given:
    """Work under a name of its own, by which a worker knows it again."""

    token: str
    work: Work


class _Worker:
    """What a process keeps between ranges: the work, and what runs it once it was needed."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.token = ""
        self.evaluator: Evaluator | None = None

    def run(self, given: Given, start: int, stop: int) -> Part:
        with self.lock:
            if self.evaluator is None or self.token != given.token:
                self.evaluator, self.token = Evaluator(given.work), given.token
            return self.evaluator.run(start, stop)


_WORKER = _Worker()
_GIVEN: list[Given] = []


def _give(work: Work) -> None:
    """Hand a new process its work, once; errors wait for the first range, which can report them."""
    _GIVEN[:] = [Given("", work)]


def _measure(span: Range) -> Part:
    return _WORKER.run(_GIVEN[0], *span)


def _in_processes(work: Work, planned: Plan, wanted: int, jobs: int) -> Iterator[Part]:
    threads = max((work.threads or os.cpu_count() or 1) // jobs, 1)
    mine = replace(work, threads=threads)
    left = ranges(wanted, planned.group, jobs)
    for _ in range(_BREAKS):
        done: list[Range] = []
        try:
            for span, part in _one_pool(mine, left, jobs):
                done.append(span)
                yield part
        except BrokenProcessPool:
            pass
        left = [span for span in left if span not in done]
        if not left:
            return
    raise CompileError([_lost(f"{_BREAKS} times, a process ended in the middle of its work")])


def _one_pool(work: Work, spans: Sequence[Range], jobs: int) -> Iterator[tuple[Range, Part]]:
    # Forked processes would inherit ONNX Runtime's threads in an unknown state.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, context, _give, (work,)) as pool:
        futures: dict[Future[Part], Range] = {pool.submit(_measure, s): s for s in spans}
        try:
            while futures:
                for future in wait(futures, return_when=FIRST_COMPLETED).done:
                    span = futures.pop(future)
                    yield span, future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


# --- Dask ------------------------------------------------------------------------------------


def _keep(given: Given, version: str) -> Given:
    """Run on the cluster: its result is what every range reads, and can be made again."""
    if version != VERSION:
        raise CompileError([_lost(f"a worker has lowbitc {VERSION}, here is {version}")])
    return given


def _measure_there(given: Given, start: int, stop: int) -> Part:
    return _WORKER.run(given, start, stop)


def _on_dask(work: Work, planned: Plan, wanted: int, address: str) -> Iterator[Part]:
    from lowbitc.dask_cluster import Cluster  # noqa: PLC0415 - an extra

    with Cluster(address) as cluster:
        spans = ranges(wanted, planned.group, cluster.workers)
        given = Given(secrets.token_hex(8), work)
        yield from cluster.run(_keep, (given, VERSION), _measure_there, spans)


def _lost(found: str) -> Diagnostic:
    return error(
        "LB756",
        "the work could not be spread",
        found=found,
        allowed="workers that stay, with this version of lowbitc and the same files",
        hint="look at the memory of the workers; --jobs 1 measures in this process",
    )
