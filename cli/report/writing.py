"""Write the report of a command: what it measured, and what can be had beside it for little."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lowbitc.cli.report.content import (
    Measured,
    VerdictView,
    gate_views,
    gather,
    measured_views,
    metric_views,
)
from lowbitc.cli.report.page import draw_page
from lowbitc.compiler.diagnostics import CompileError, error
from lowbitc.compiler.replace_file import replace_file
from lowbitc.level_shapes import output_shapes, weight_shapes
from lowbitc.simulation import load, simulate
from lowbitc.verdict import Outcome

if TYPE_CHECKING:
    from pathlib import Path

    from lowbitc.cli.report.content import MetricView
    from lowbitc.comparing import Comparison
    from lowbitc.compilation import Report
    from lowbitc.compiler.datasets.opening import DataSource
    from lowbitc.simulation import Simulation
    from lowbitc.targets.program.program import Program
    from lowbitc.training.records import EpochRecord
    from lowbitc.tuning import Tuned
    from lowbitc.verdict import Verdict

_FEW = 128
"""Most samples that the layers of a gated program are measured on."""
_ENDS = {
    Outcome.PASSED: ("good", "Gate passed"),
    Outcome.FAILED: ("bad", "Gate failed"),
    Outcome.UNDECIDED: ("open", "Undecided: too few samples to tell"),
    Outcome.UNMEASURED: ("bad", "Could not measure"),
}


def write_simulated(  # noqa: PLR0913 - one a part of the page
    path: Path,
    program: Program,
    title: str,
    data: DataSource,
    simulation: Simulation,
    *,
    command: str = "simulate",
    verdict: VerdictView | None = None,
    metrics: tuple[MetricView, ...] | None = None,
    samples: int | None = None,
    training: tuple[EpochRecord, ...] = (),
    threads: int = 0,
    report: Report,
) -> None:
    """Write what a simulation measured, with histograms from the first few samples."""
    measured = Measured(
        command=command,
        title=title,
        verdict=verdict or VerdictView("none", ""),
        metrics=metric_views(simulation) if metrics is None else metrics,
        samples=simulation.samples if samples is None else samples,
        simulation=simulation,
        outputs=output_shapes(program, data, threads=threads, report=report),
        weights=weight_shapes(program),
        training=training,
    )
    _write(path, draw_page(gather(program, measured)))


def write_tuned(
    path: Path,
    tuned: Tuned,
    title: str,
    data: DataSource | None,
    simulation: Simulation | None,
    *,
    threads: int,
    report: Report,
) -> None:
    """Write how a program was trained, and what a simulation on ``data`` measured of it."""
    program = tuned.compilation.program
    if data is not None and simulation is not None:
        write_simulated(
            path,
            program,
            title,
            data,
            simulation,
            command="tune",
            training=tuned.epochs,
            threads=threads,
            report=report,
        )
        return
    measured = Measured(
        command="tune", title=title, weights=weight_shapes(program), training=tuned.epochs
    )
    _write(path, draw_page(gather(program, measured)))


def write_gated(
    path: Path, program: Path, data: DataSource, verdict: Verdict, *, threads: int, report: Report
) -> None:
    """Write a gate's verdict; what layers cost is measured on some samples of the same data."""
    held = load(program)
    few = min(verdict.samples, _FEW)
    simulation = simulate(held, data, limit=few, threads=threads, report=report)
    state, headline = _ENDS[verdict.outcome]
    write_simulated(
        path,
        held,
        program.stem,
        data,
        simulation,
        command="gate",
        verdict=VerdictView(state, headline, tuple(c.message for c in verdict.checks)),
        metrics=gate_views(verdict),
        samples=verdict.samples,
        threads=threads,
        report=report,
    )


def write_compared(
    path: Path, program: Program, title: str, comparison: Comparison, simulation: Simulation
) -> None:
    """Write what a comparison found, beside a simulation of the same samples."""
    first = comparison.first_bad
    worst = [x for x in comparison.ranking if x.bad]
    if first is None:
        verdict = VerdictView("good", "No layer loses more than its bits make it lose")
    else:
        verdict = VerdictView(
            "bad",
            f"First bad layer: {first.name}",
            tuple(f"{x.name}: {x.cause} ({x.excess_db:.1f} dB too much)" for x in worst),
        )
    measured = Measured(
        command="compare",
        title=title,
        verdict=verdict,
        metrics=measured_views(comparison.metrics),
        samples=comparison.samples,
        simulation=simulation,
        comparison=comparison,
    )
    _write(path, draw_page(gather(program, measured)))


def _write(path: Path, text: str) -> None:
    try:
        replace_file(path, [text.encode("utf-8")])
    except OSError as problem:
        found = error(
            "LB772",
            f"the report cannot be written to {path}",
            found=str(problem),
            hint="check the folder, its permissions and the space left",
        )
        raise CompileError([found]) from problem
