"""The accuracy gate: hold a program to bounds on data."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lowbitc.compilation import input_specs, silent
from lowbitc.compiler.datasets.opening import open_dataset
from lowbitc.compiler.diagnostics import CompileError, Diagnostic, error, raise_errors
from lowbitc.compiler.execute import FloatSession
from lowbitc.compiler.frontend import import_model
from lowbitc.compiler.metrics.metric import Scored
from lowbitc.compiler.metrics.naming import parse_metric
from lowbitc.compiler.metrics.tally import Tally, tally
from lowbitc.simulation import load, preprocess_of, simulate
from lowbitc.targets.engines.registry import DEFAULT_ENGINE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lowbitc.compilation import Report
    from lowbitc.compiler.datasets.opening import DataSource
    from lowbitc.targets.container import Json
    from lowbitc.targets.program.program import Program

_BATCH = 32


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a gate measured and decided; text, JSON and exit code all come from this one value.

    ``breaches`` says each bound that was not met; the gate passed when there is none. ``value``
    and ``float_value`` are shares of samples, ``drop`` their difference.
    """

    metric: str
    samples: int
    value: float
    minimum: float | None
    float_value: float | None
    drop: float | None
    max_drop: float | None
    breaches: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether every bound was met."""
        return not self.breaches

    def as_json(self) -> dict[str, Json]:
        """Return plain dictionaries, lists, numbers and texts."""
        return {**asdict(self), "breaches": list(self.breaches), "passed": self.passed}


def gate(  # noqa: PLR0913 - one argument a setting
    program: Program | str | Path,
    data: DataSource,
    *,
    metric: str = "top1",
    minimum: float | None = None,
    reference: str | Path | None = None,
    max_drop: float | None = None,
    engine: str = DEFAULT_ENGINE,
    limit: int | None = None,
    threads: int = 0,
    report: Report = silent,
) -> Verdict:
    """Measure a program and hold it to a floor, or to a drop from the float model, or to both.

    Raises CompileError LB731 for bounds that cannot be used, LB735 where nothing was measured:
    a gate that could not measure has not passed.
    """
    raise_errors(_wrong_bounds(minimum, reference, max_drop))
    held = load(program) if isinstance(program, (str, Path)) else program
    found = simulate(
        held,
        data,
        engine=engine,
        limit=limit,
        threads=threads,
        metrics=(metric,),
        report=report,
    )
    value = found.metrics[parse_metric(metric).name]
    exact = None
    if reference is not None:
        exact = _float_metric(held, Path(reference), data, metric, found.samples, threads)
    drop = None if exact is None else exact - value
    breaches: list[str] = []
    if minimum is not None and not value >= minimum:
        breaches.append(f"{metric} is {value:.4f}, less than {minimum:.4f}")
    if max_drop is not None and drop is not None and not drop <= max_drop:
        breaches.append(f"{metric} is {drop:.4f} below float, more than {max_drop:.4f}")
    return Verdict(metric, found.samples, value, minimum, exact, drop, max_drop, tuple(breaches))


def _wrong_bounds(
    minimum: float | None, reference: str | Path | None, max_drop: float | None
) -> Iterator[Diagnostic]:
    for name, bound in (("--min", minimum), ("--max-drop", max_drop)):
        if bound is not None and (math.isnan(bound) or not 0 <= bound <= 1):
            yield error(
                "LB731",
                f"{name} is no share of samples",
                found=str(bound),
                allowed="from 0 to 1, for example 0.97",
            )
    if minimum is None and max_drop is None:
        yield error(
            "LB731",
            "a gate needs a bound",
            found="neither --min nor --max-drop",
            allowed="one of them, or both",
            hint="for example --min 0.97",
        )
    if (max_drop is None) is not (reference is None):
        yield error(
            "LB731",
            "a drop is measured from a float model",
            found="--max-drop without --reference" if reference is None else "only --reference",
            allowed="--reference MODEL.onnx --max-drop 0.01",
        )


def _unmeasured(why: str) -> Diagnostic:
    return error(
        "LB735",
        "the gate could not measure",
        found=why,
        allowed="labels in y, one whole number a sample",
        hint="a gate that measured nothing does not pass",
    )


def _float_metric(
    program: Program, model: Path, data: DataSource, metric: str, samples: int, threads: int
) -> float:
    """Measure the float model on the same samples."""
    shapes = {port.name: tuple(port.shape or ()) for port in program.inputs}
    graph = import_model(model, shapes=shapes).graph
    session = FloatSession(graph, threads=threads, fast=True)
    dataset = open_dataset(data, input_specs(graph), preprocess_of(program))
    measure, found = parse_metric(metric), Tally()
    for batch in dataset.batches(_BATCH):
        part = batch.first(samples - found.samples)
        if part.labels is None or part.size == 0:
            break
        feeds = {
            name: np.reshape(array, (-1, *graph.shape(name)[1:]))
            for name, array in part.inputs.items()
        }
        found += tally(measure, Scored(session.arrays(feeds), part.labels))
    if found.samples != samples:
        raise CompileError([_unmeasured(f"float ran on {found.samples} of {samples} samples")])
    return measure.value(found.rows())
