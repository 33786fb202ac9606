"""The engines by name."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from lowbitc.compiler.diagnostics import CompileError, error
from lowbitc.targets.engines.event import EventLaunch
from lowbitc.targets.engines.fast import FastLaunch
from lowbitc.targets.engines.reference import ReferenceLaunch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lowbitc.targets.engines.engine import LaunchRunner
    from lowbitc.targets.program.program import Launch, Program

    EngineMaker = Callable[[Program, Launch, int], LaunchRunner]
    """Prepares a launch of a program for so many threads (0: all cores)."""


def _event(program: Program, launch: Launch, threads: int) -> LaunchRunner:
    del threads
    return EventLaunch(program, launch)


def _fast(program: Program, launch: Launch, threads: int) -> LaunchRunner:
    return FastLaunch(launch.graph, threads or os.cpu_count() or 1, program.placement)


def _reference(program: Program, launch: Launch, threads: int) -> LaunchRunner:
    del threads
    return ReferenceLaunch(launch.graph, program.placement)


ENGINES: Mapping[str, EngineMaker] = {"event": _event, "fast": _fast, "reference": _reference}
DEFAULT_ENGINE = "fast"


def engine_maker(name: str) -> EngineMaker:
    """Return what prepares launches for an engine.

    Raises CompileError LB740 for a name that is no engine.
    """
    found = ENGINES.get(name)
    if found is None:
        problem = error(
            "LB740",
            f"there is no engine {name!r}",
            found=name,
            allowed=", ".join(sorted(ENGINES)),
            hint="leave --engine out for the default",
        )
        raise CompileError([problem])
    return found
