"""The accuracy gate: hold a program to bounds on data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from lowbitc.baseline import (
    Baseline,
    baseline_checks,
    other_data,
    read_baseline,
    write_baseline,
)
from lowbitc.bounds import Bounds, checks, cost_checks, limits, measured, wrong_costs
from lowbitc.compilation import compile_with, silent
from lowbitc.compiler.diagnostics import (
    Diagnostic,
    Severity,
    error,
    raise_errors,
)
from lowbitc.compiler.metrics.naming import parse_metrics
from lowbitc.data_doubts import calibrated_on, knows_nothing, repeated
from lowbitc.evaluation import Work, digest_text, repeats
from lowbitc.input_ranges import odd_ranges
from lowbitc.options import settle
from lowbitc.simulation import load
from lowbitc.spreading import HERE, evaluate
from lowbitc.targets.container import container_bytes
from lowbitc.targets.cost import estimate_cost
from lowbitc.targets.engines.registry import DEFAULT_ENGINE
from lowbitc.targets.registry import load_target
from lowbitc.verdict import Check, Outcome, Subject, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lowbitc.bounds import Limits
    from lowbitc.compilation import Report
    from lowbitc.compiler.datasets.opening import DataSource
    from lowbitc.compiler.metrics.metric import Metric
    from lowbitc.evaluation import Part
    from lowbitc.options import Options
    from lowbitc.spreading import Spread
    from lowbitc.targets.program.program import Program

__all__ = ["Bounds", "Gate", "Verdict", "gate"]

_UNFINISHED = "LB754"


@dataclass(frozen=True, slots=True)
class Gate:
    """A gate with its bounds settled; ``baseline`` is compared with, ``write_to`` is written."""

    bounds: Bounds
    reference: Path | None = None
    baseline: Baseline | None = None
    write_to: Path | None = None
    engine: str = DEFAULT_ENGINE
    limit: int | None = None
    threads: int = 0
    spread: Spread = HERE

    def judge(
        self,
        program: Program | str | Path,
        data: DataSource,
        options: Options | None = None,
        report: Report = silent,
    ) -> Verdict:
        """Measure and decide; an ONNX model is compiled first, with ``options``.

        Raises CompileError with all that keeps the gate from measuring.
        """
        held, reference, found = self._program(program, options, report)
        work = Work(
            container_bytes(held.container),
            data,
            self.bounds.metrics,
            self.engine,
            self.threads,
            reference=None if reference is None else str(reference),
            examine=True,
        )
        part = evaluate(work, held, limit=self.limit, spread=self.spread, report=report)
        metrics = self.bounds.parsed
        problems = [*found, *self._problems(held, part, metrics)]
        raise_errors(problems)
        verdict = Verdict(
            program=Subject(held.name, held.digest),
            data=Subject(_data_name(data), digest_text(part)),
            samples=part.samples,
            repeats=repeats(part),
            engine=self.engine,
            confidence=self.bounds.shown_confidence,
            by_interval=self.bounds.confidence is not None,
            undecided_fails=self.bounds.undecided_fails,
            metrics=tuple(
                measured(m, part.tallies[m.name], self.bounds.shown_confidence) for m in metrics
            ),
            costs=tuple(_costs(held, part).items()),
            diagnostics=tuple(problems),
        )
        return self._written(replace(verdict, checks=tuple(self._checks(verdict, part, metrics))))

    def _program(
        self, given: Program | str | Path, options: Options | None, report: Report
    ) -> tuple[Program, Path | None, tuple[Diagnostic, ...]]:
        """Return the program, the float model, and what compiling told."""
        if not isinstance(given, (str, Path)):
            return given, self.reference, ()
        path = Path(given)
        if path.suffix != ".onnx":
            return load(path), self.reference, ()
        made = compile_with(path, options or settle(path), report=report)
        wants = self.bounds.max_drop or any(m.traits.fidelity for m in self.bounds.parsed)
        return made.program, self.reference or (path if wants else None), made.diagnostics

    def _problems(
        self, program: Program, part: Part, metrics: Sequence[Metric]
    ) -> Iterator[Diagnostic]:
        """Yield what keeps these figures from meaning what they seem to, or may do so."""
        for problem in odd_ranges(part.ranges):
            accepted = self.bounds.accept_range
            yield replace(problem, severity=Severity.WARNING) if accepted else problem
        yield from repeated(part)
        yield from calibrated_on(program, part)
        for metric in metrics:
            if metric.name in self.bounds.max_drop:
                yield from knows_nothing(metric, part)
        if self.bounds.costs and not part.counts.layers:
            yield error(
                "LB758",
                "the cost cannot be measured",
                found="nothing of the network runs on the chip",
                allowed="a program with layers on the chip",
                hint="`lowbitc inspect` says why each layer is on the CPU",
            )
        if self.baseline is not None:
            yield from other_data(self.baseline, digest_text(part), part.samples)

    def _checks(self, verdict: Verdict, part: Part, metrics: Sequence[Metric]) -> Iterator[Check]:
        found = {m.name: m for m in verdict.metrics}
        for metric in metrics:
            yield from checks(self.bounds, metric, part.tallies[metric.name], found[metric.name])
        yield from cost_checks(self.bounds, dict(verdict.costs))
        if self.baseline is not None:
            yield from baseline_checks(self.baseline, found, self.bounds.regression)

    def _written(self, verdict: Verdict) -> Verdict:
        """Write the baseline of a program that met everything else."""
        if self.write_to is None:
            return verdict
        spelled = dict(zip((m.name for m in verdict.metrics), self.bounds.metrics, strict=True))
        met = all(check.outcome is Outcome.PASSED for check in verdict.checks)
        if met:
            write_baseline(self.write_to, verdict, spelled, self.bounds.regression)
        recorded = Check(
            "recorded",
            "baseline",
            0.0,
            0.0,
            Outcome.PASSED if met else Outcome.FAILED,
            f"the baseline was {'written' if met else 'not written: a bound is not met'}",
        )
        return replace(verdict, checks=(*verdict.checks, recorded))


def gate(  # noqa: PLR0913 - one argument a setting
    program: Program | str | Path,
    data: DataSource,
    *,
    metric: str | Sequence[str] = (),
    minimum: float | Limits | None = None,
    maximum: float | Limits | None = None,
    reference: str | Path | None = None,
    max_drop: float | Limits | None = None,
    min_float: float | Limits | None = None,
    baseline: str | Path | None = None,
    write_baseline: str | Path | None = None,
    max_regression: float | Limits | None = None,
    costs: Limits | None = None,
    confidence: float | None = None,
    undecided_fails: bool = False,
    accept_range: bool = False,
    engine: str = DEFAULT_ENGINE,
    limit: int | None = None,
    threads: int = 0,
    spread: Spread = HERE,
    options: Options | None = None,
    report: Report = silent,
) -> Verdict:
    """Measure a program, or an ONNX model that is compiled first, and hold it to bounds.

    Bounds are numbers for the only metric or dictionaries by metric; ``costs`` has energy (J a
    frame), cycles and nps. With ``confidence`` intervals decide instead of figures. docs/gate.md
    explains all of it. Raises CompileError LB731 for bounds that cannot be used, and with exit
    code 3 or 4 on the command line where nothing was measured.
    """
    settled = settle_gate(
        compiles=isinstance(program, (str, Path)) and Path(program).suffix == ".onnx",
        metric=metric,
        minimum=minimum,
        maximum=maximum,
        reference=reference,
        max_drop=max_drop,
        min_float=min_float,
        baseline=baseline,
        write_to=write_baseline,
        max_regression=max_regression,
        costs=costs,
        confidence=confidence,
        undecided_fails=undecided_fails,
        accept_range=accept_range,
        engine=engine,
        limit=limit,
        threads=threads,
        spread=spread,
    )
    return settled.judge(program, data, options, report)


def settle_gate(  # noqa: PLR0913 - one argument a setting
    *,
    compiles: bool,
    metric: str | Sequence[str],
    minimum: float | Limits | None,
    maximum: float | Limits | None,
    reference: str | Path | None,
    max_drop: float | Limits | None,
    min_float: float | Limits | None,
    baseline: str | Path | None,
    write_to: str | Path | None,
    max_regression: float | Limits | None,
    costs: Limits | None,
    confidence: float | None,
    undecided_fails: bool,
    accept_range: bool,
    engine: str,
    limit: int | None,
    threads: int,
    spread: Spread,
) -> Gate:
    """Settle and check every bound before anything runs; raises CompileError LB731 and LB750."""
    compared = None if baseline is None else read_baseline(Path(baseline))
    asked = (metric,) if isinstance(metric, str) else tuple(metric)
    if not asked:
        asked = () if compared is None else tuple(r.spelled for r in compared.metrics.values())
    needs_metric = any(
        bound is not None for bound in (minimum, maximum, max_drop, min_float, write_to)
    )
    spelled = asked or (("top1",) if needs_metric else ())
    metrics = parse_metrics(spelled)
    bounds = Bounds(
        metrics=spelled,
        minimum=limits("--min", minimum, metrics),
        maximum=limits("--max", maximum, metrics),
        max_drop=limits("--max-drop", max_drop, metrics),
        min_float=limits("--min-float", min_float, metrics),
        regression=limits("--max-regression", max_regression, metrics),
        costs=dict(costs or {}),
        confidence=confidence,
        undecided_fails=undecided_fails,
        accept_range=accept_range,
    )
    made = Gate(
        bounds,
        None if reference is None else Path(reference),
        compared,
        None if write_to is None else Path(write_to),
        engine,
        limit,
        threads,
        spread,
    )
    raise_errors(_wrong_gate(made, metrics, compiles=compiles))
    return made


def _wrong_gate(held: Gate, metrics: Sequence[Metric], *, compiles: bool) -> Iterator[Diagnostic]:
    bounds = held.bounds
    yield from wrong_costs(bounds.costs)
    given = (bounds.minimum, bounds.maximum, bounds.max_drop, bounds.costs)
    if not any(given) and held.baseline is None and held.write_to is None:
        yield error(
            "LB731",
            "a gate needs a bound",
            found="none",
            allowed="--min, --max, --max-drop, --baseline, --max-energy, --max-cycles, --max-nps",
            hint="for example --min 0.97",
        )
    bounded = {*bounds.minimum, *bounds.maximum, *bounds.max_drop}
    if held.baseline is not None:
        bounded |= set(held.baseline.metrics)
    if idle := [m.name for m in metrics if m.name not in bounded and held.write_to is None]:
        yield error(
            "LB731",
            "a metric has no bound",
            found=", ".join(idle),
            allowed=f"--min {idle[0]}=VALUE, or another bound",
            hint="`lowbitc simulate --metric` measures without a bound",
        )
    wants = {*bounds.max_drop, *bounds.min_float, *(m.name for m in metrics if m.traits.fidelity)}
    if wants and held.reference is None and not compiles:
        yield error(
            "LB731",
            "nothing to compare with",
            found=f"{', '.join(sorted(wants))} without --reference",
            allowed="--reference MODEL.onnx",
            hint="give the float model that the program was compiled from",
        )
    if held.reference is not None and not wants:
        yield error(
            "LB731",
            "a float model is given, and no bound is about it",
            found=f"--reference {held.reference}",
            allowed="--max-drop, --min-float, or a metric against float",
        )
    if bounds.regression and held.baseline is None and held.write_to is None:
        yield error(
            "LB731",
            "--max-regression is measured from a baseline",
            found="no --baseline",
            allowed="--baseline FILE",
        )
    if bounds.confidence is not None and not 0.5 <= bounds.confidence < 1:  # noqa: PLR2004 - more than a coin
        yield error(
            "LB731",
            "--confidence is none",
            found=str(bounds.confidence),
            allowed="from 0.5, below 1, for example 0.95",
        )
    if held.baseline is not None:
        yield from _other_metrics(held.baseline, bounds)


def _other_metrics(held: Baseline, bounds: Bounds) -> Iterator[Diagnostic]:
    theirs = {reached.spelled for reached in held.metrics.values()}
    if missing := sorted(theirs - set(bounds.metrics)):
        yield error(
            "LB751",
            f"{held.path} holds metrics that this gate does not measure",
            found=", ".join(bounds.metrics),
            allowed=", ".join(sorted(theirs)),
            hint=f"add --metric {missing[0]}, or leave --metric out",
        )


def _costs(program: Program, part: Part) -> dict[str, float]:
    if not part.counts.layers:
        return {}
    cost, _ = estimate_cost(program, load_target(program.target), part.counts)
    return {
        "energy": cost.energy_per_frame_j,
        "cycles": cost.cycles_per_frame,
        "nps": float(program.placement.most_processors),
    }


def _data_name(data: DataSource) -> str:
    return Path(data).name if isinstance(data, (str, Path)) else "arrays"


def unmeasured(program: str, data: str, diagnostics: Sequence[Diagnostic], stopped: int) -> Verdict:
    """Return the verdict of a gate that could not measure."""
    return Verdict(
        Subject(program, ""), Subject(data, ""), diagnostics=tuple(diagnostics), stopped=stopped
    )


def unfinished(program: str, data: str) -> Verdict:
    """Return what stands in the result's place while a gate runs, and after it was killed."""
    return unmeasured(
        program,
        data,
        [
            error(
                _UNFINISHED,
                "the gate did not finish",
                found="a run that was begun",
                hint="run it again; a run that was killed has not passed",
            )
        ],
        4,
    )


def unwritten(verdict: Verdict, problem: OSError) -> Verdict:
    """Return a verdict that did not reach its file: it does not count."""
    found = error(
        "LB753",
        "the result cannot be written",
        found=f"{problem.filename or ''} {problem.strerror or problem}".strip(),
        allowed="a folder that exists, and room on the disk",
        hint="a gate whose result is lost has not passed",
    )
    kept = (d for d in verdict.diagnostics if d.code != _UNFINISHED)
    return replace(verdict, diagnostics=(*kept, found), stopped=4)
