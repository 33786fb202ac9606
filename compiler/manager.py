"""The contract of a pass, and the manager that runs passes and verifies after each."""

from __future__ import annotations

import dataclasses
import enum
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

from lowbitc.compiler.diagnostics import CompileError, Diagnostic, Severity
from lowbitc.compiler.ir.verify import verify

if TYPE_CHECKING:
    from collections.abc import Callable

    from lowbitc.compiler.ir.graph import Graph


class Measured(enum.Enum):
    """What the error of a layer was measured on."""

    SUMS = "sums"
    """What the layer makes of what it really reads, against float, before the output stage."""
    WEIGHTS = "weights"
    """The weights alone, against float."""
    LEVELS = "levels"
    """What the layer puts out in float, on its levels."""


@dataclass(frozen=True, slots=True)
class LayerError:
    """What quantizing cost a layer: squared error over power, of what ``measured`` says."""

    layer: str
    measured: Measured
    bits: int
    error: float


@dataclass(frozen=True, slots=True)
class PassResult:
    """A new graph, whether it differs from the old one, and what the pass noticed and measured."""

    graph: Graph
    changed: bool
    diagnostics: tuple[Diagnostic, ...] = ()
    errors: tuple[LayerError, ...] = ()


@runtime_checkable
class Pass(Protocol):
    """A named rewrite. Options are dataclass fields; ``run`` is pure."""

    name: ClassVar[str]

    def run(self, graph: Graph, /) -> PassResult:
        """Return the rewritten graph."""
        ...


@dataclass(frozen=True, slots=True)
class PassRun:
    """What a hook is told of a pass that ran; times are in seconds."""

    name: str
    before: Graph
    after: Graph
    changed: bool
    seconds: float


if TYPE_CHECKING:
    Hook = Callable[[PassRun], tuple[Diagnostic, ...]]


def no_hook(_run: PassRun) -> tuple[Diagnostic, ...]:
    """Do nothing."""
    return ()


@dataclass(frozen=True, slots=True)
class PassManager:
    """Runs passes in order and verifies the graph after each; a hook sees every run."""

    passes: tuple[Pass, ...]
    hook: Hook = no_hook

    def run(self, graph: Graph) -> PassResult:
        """Run every pass.

        Raises CompileError, naming the passes that ran, when a verifier or the hook finds an
        error; the diagnostics of a pass that are errors are raised together after it.
        """
        found: list[Diagnostic] = []
        errors: list[LayerError] = []
        ran: list[str] = []
        changed = False
        for step in self.passes:
            start = time.perf_counter()
            result = step.run(graph)
            seconds = time.perf_counter() - start
            ran.append(step.name)
            found += result.diagnostics
            errors += result.errors
            broken = [d for d in verify(result.graph) if d.severity is Severity.ERROR]
            if broken:
                after = " → ".join(ran)
                raise CompileError(
                    dataclasses.replace(d, message=f"after {after}: {d.message}") for d in broken
                )
            found += self.hook(PassRun(step.name, graph, result.graph, result.changed, seconds))
            if any(d.severity is Severity.ERROR for d in found):
                raise CompileError(found)
            changed |= result.changed
            graph = result.graph
        return PassResult(graph, changed, tuple(found), tuple(errors))
