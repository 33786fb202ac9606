"""What may watch the passes run: checks of the numbers, times, dumps."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lowbitc.compiler.diagnostics import CompileError, Diagnostic, error, note
from lowbitc.compiler.execute import FloatSession
from lowbitc.compiler.ir.quantized import DEVICE_OPS, Dequantize, Quantize
from lowbitc.compiler.ir.types import TensorType
from lowbitc.compiler.text import print_graph

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from lowbitc.compiler.elements import Array
    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.compiler.manager import Hook, PassRun
    from lowbitc.compiler.onnx_session import Value

TOLERANCE = 1e-4
"""Largest gap allowed, as a part of the largest output: float32 rounding, with room."""


def combine(*hooks: Hook) -> Hook:
    """Return a hook that calls each of ``hooks``, in order."""

    def run_all(run: PassRun) -> tuple[Diagnostic, ...]:
        return tuple(finding for hook in hooks for finding in hook(run))

    return run_all


@dataclass(frozen=True, slots=True)
class Gap:
    """How far the outputs of two graphs lie apart; ``relative`` to the largest output."""

    absolute: float
    relative: float


class VerifyNumerics:
    """Run the graph before and after each float pass on a sample, and compare all outputs.

    Reports the gap as a note (LB909); an error (LB905) where it exceeds ``tolerance``, as a part
    of the largest output. A pass that rounds weights or makes integer operators changes the
    numbers on purpose: of the first the gap is reported, of the others that no check applies. A
    check that cannot run is an error (LB906).
    """

    def __init__(
        self, sample: Mapping[str, Value], *, tolerance: float = TOLERANCE, threads: int = 0
    ) -> None:
        """Keep the sample: arrays by the names of the inputs."""
        self._sample = sample
        self._tolerance = tolerance
        self._threads = threads
        self._last: tuple[Graph, list[Array]] | None = None

    def __call__(self, run: PassRun) -> tuple[Diagnostic, ...]:
        """Compare the graph before and after one pass."""
        if run.after is run.before:
            return ()
        if _computes_with_integers(run.after):
            said = f"{run.name}: float numerics do not apply to a graph of integer operators"
            return (note("LB909", said, hint="engines are held to the integer specification"),)
        try:
            before, after = self._outputs(run.before), self._outputs(run.after)
        except CompileError as failure:
            why = "; ".join(d.message for d in failure.diagnostics)
            return (error("LB906", f"{run.name}: the numbers could not be compared: {why}"),)
        gap = measure_gap(before, after)
        found = f"{gap.absolute:.3g}, {gap.relative:.3g} of the largest output"
        if _weight_levels(run.after) - _weight_levels(run.before):
            said = f"{run.name}: rounding the weights moves the outputs by at most {found}"
            return (note("LB909", said, found=found),)
        if not gap.relative <= self._tolerance:
            return (
                error(
                    "LB905",
                    f"{run.name}: the outputs moved by as much as {found}",
                    found=f"{gap.relative:.3g}",
                    allowed=f"{self._tolerance:.3g}",
                ),
            )
        return (note("LB909", f"{run.name}: the outputs moved by at most {found}", found=found),)

    def _outputs(self, graph: Graph) -> list[Array]:
        if self._last is not None and self._last[0] is graph:
            return self._last[1]
        found = FloatSession(graph, threads=self._threads).run(self._sample)
        outputs = [array for name in graph.outputs for array in _arrays(found[name])]
        self._last = (graph, outputs)
        return outputs


def measure_gap(one: list[Array], other: list[Array]) -> Gap:
    """Return the largest difference between outputs, infinite where they cannot be compared."""
    if [a.shape for a in one] != [b.shape for b in other]:
        return Gap(math.inf, math.inf)
    gaps = [Gap(0.0, 0.0), *(_gap(a, b) for a, b in zip(one, other, strict=True))]
    return Gap(max(g.absolute for g in gaps), max(g.relative for g in gaps))


def _gap(one: Array, other: Array) -> Gap:
    if one.dtype.kind not in "fiub" or one.dtype != other.dtype:
        same = one.dtype == other.dtype and one.tolist() == other.tolist()
        return Gap(0.0, 0.0) if same else Gap(math.inf, math.inf)
    a, b = np.asarray(one, np.float64), np.asarray(other, np.float64)
    finite = np.isfinite(a)
    if not np.array_equal(a[~finite], b[~finite], equal_nan=True):
        return Gap(math.inf, math.inf)
    absolute = float(np.max(np.abs(a[finite] - b[finite]), initial=0.0))
    largest = float(np.max(np.abs(a[finite]), initial=0.0))
    if not math.isfinite(absolute) or (absolute and not largest):
        return Gap(absolute, math.inf)
    return Gap(absolute, absolute / largest if largest else 0.0)


def _arrays(value: Value) -> Iterator[Array]:
    if isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _arrays(item)


def _computes_with_integers(graph: Graph) -> bool:
    return any(isinstance(node, (*DEVICE_OPS, Quantize, Dequantize)) for node in graph.nodes)


def _weight_levels(graph: Graph) -> set[str]:
    """Return the constants that are levels."""
    held = ((name, graph.types.get(name)) for name in graph.constants)
    return {name for name, t in held if isinstance(t, TensorType) and t.levels is not None}


@dataclass(frozen=True, slots=True)
class Timing:
    """How long a pass took, and whether it changed the graph."""

    name: str
    seconds: float
    changed: bool


class Timings:
    """Collects the time of every pass, in the order of running."""

    def __init__(self) -> None:
        """Begin with none."""
        self.rows: list[Timing] = []

    def __call__(self, run: PassRun) -> tuple[Diagnostic, ...]:
        """Note one pass."""
        self.rows.append(Timing(run.name, run.seconds, run.changed))
        return ()


@dataclass(frozen=True, slots=True)
class DumpAfter:
    """Hands the text form of the graph after each of the passes named to ``write``.

    Without names, after every pass. ``write`` gets the pass's name and the text.
    """

    names: Collection[str]
    write: Callable[[str, str], None]
    elide: bool = False

    def __call__(self, run: PassRun) -> tuple[Diagnostic, ...]:
        """Dump the graph if this pass was asked for."""
        if not self.names or run.name in self.names:
            self.write(run.name, print_graph(run.after, elide=self.elide))
        return ()
