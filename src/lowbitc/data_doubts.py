"""Reasons to doubt figures: data whose accuracy would not mean what it seems to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lowbitc.compiler.diagnostics import Diagnostic, error, warning
from lowbitc.compiler.metrics.intervals import value_interval
from lowbitc.evaluation import holds, input_marks, repeats
from lowbitc.targets.program.program import Launch

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from lowbitc.compiler.datasets.stream import Batch
    from lowbitc.compiler.metrics.metric import Metric
    from lowbitc.evaluation import Part
    from lowbitc.targets.program.program import Program

_CERTAIN = 0.95
"""Confidence with which a float model must know more than nothing."""


def knows_nothing(metric: Metric, part: Part) -> Iterator[Diagnostic]:
    """Yield LB738 where a drop from the float model means nothing, because it fails itself."""
    tally = part.tallies[metric.name]
    chance = metric.chance(tally.rows(1))
    if chance is None:
        return
    found = value_interval(metric, tally, _CERTAIN, network=1)
    higher = metric.traits.higher_is_better
    if not (found.low > chance if higher else found.high < chance):
        yield error(
            "LB738",
            f"the float model's {metric.name} is no better than knowing nothing",
            found=f"{metric.value(tally.rows(1)):.4f} on {tally.samples:,} samples, {chance:.4f} "
            "by always saying the same",
            allowed="a float model that works on this data",
            hint="check labels and preprocessing: a network that fails as float loses nothing",
        )


def repeated(part: Part) -> Iterator[Diagnostic]:
    """Yield LB755 where samples are repeated: they add no evidence."""
    again = repeats(part)
    if again:
        make = error if 2 * again >= part.samples else warning
        yield make(
            "LB755",
            "samples of the data are repeated",
            found=f"{again:,} of {part.samples:,} are the same as one before them",
            allowed="samples that differ",
            hint="remove the copies: intervals count every sample as new evidence",
        )


def calibrated_on(program: Program, part: Part) -> Iterator[Diagnostic]:
    """Yield LB760 where the sample that the program remembers of its calibration is in the data."""
    names = {port.name for port in program.inputs}
    for answer in program.known_answers:
        step = program.steps[answer.step]
        if not isinstance(step, Launch) or set(answer.inputs) != names:
            continue
        shapes = {port.name: port.sample_shape for port in program.inputs}
        sample = {n: a.reshape(shapes[n] or a.shape) for n, a in answer.inputs.items()}
        if holds(part, sample):
            yield _seen("the calibration sample that the program holds")


def calibrating(calib: Iterable[Batch], measured: Iterable[Batch]) -> Iterator[Diagnostic]:
    """Yield LB760 where samples that calibrate are among those that are measured."""
    known = {mark for batch in calib for mark in input_marks(batch)}
    again = [mark in known for batch in measured for mark in input_marks(batch)]
    if any(again):
        yield _seen(f"{sum(again):,} of {len(again):,} samples")


def _seen(found: str) -> Diagnostic:
    return warning(
        "LB760",
        "the program was calibrated on a sample of this data",
        found=found,
        allowed="data that calibration did not see",
        hint="keep calibration and evaluation data apart",
    )
