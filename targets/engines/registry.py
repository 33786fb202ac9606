"""The engines by name."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from lowbitc.compiler.diagnostics import CompileError, error
from lowbitc.targets.engines.fast import FastLaunch
from lowbitc.targets.engines.reference import ReferenceLaunch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.targets.engines.engine import LaunchRunner

    EngineMaker = Callable[[Graph, int], LaunchRunner]
    """Prepares a launch for so many threads (0: all cores)."""


def _reference(graph: Graph, threads: int) -> LaunchRunner:
    del threads
    return ReferenceLaunch(graph)


def _fast(graph: Graph, threads: int) -> LaunchRunner:
    return FastLaunch(graph, threads or os.cpu_count() or 1)


ENGINES: Mapping[str, EngineMaker] = {"fast": _fast, "reference": _reference}
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
