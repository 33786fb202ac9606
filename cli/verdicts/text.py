"""The verdict for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lowbitc.bounds import shown, spelled_interval
from lowbitc.verdict import Outcome

if TYPE_CHECKING:
    from lowbitc.verdict import Measured, Verdict

_MARKS = {
    Outcome.PASSED: "met",
    Outcome.FAILED: "NOT MET",
    Outcome.UNDECIDED: "UNDECIDED",
    Outcome.UNMEASURED: "NOT MEASURED",
}
_ENDS = {
    Outcome.PASSED: "gate passed",
    Outcome.FAILED: "gate FAILED",
    Outcome.UNDECIDED: "gate UNDECIDED: too few samples to tell",
    Outcome.UNMEASURED: "gate COULD NOT MEASURE",
}
_UNITS = {"energy": "J a frame", "cycles": "a frame", "nps": "neural processors"}


def verdict_text(verdict: Verdict) -> str:
    """Return what was measured, what became of every bound, and the verdict as last line."""
    lines: list[str] = []
    if verdict.samples:
        measured_on = f"{verdict.samples:,} samples of {verdict.data.name}"
        engine = f"{verdict.engine} engine"
        lines.append(f"{measured_on}, {engine}, intervals at {verdict.confidence:.0%}")
    for metric in verdict.metrics:
        lines += metric_lines(metric)
    if verdict.costs:
        costs = ", ".join(f"{name} {value:.6g} {_UNITS[name]}" for name, value in verdict.costs)
        lines.append(f"by the chip's model: {costs}")
    lines += [f"  {_MARKS[check.outcome]}: {check.message}" for check in verdict.checks]
    return "\n".join((*lines, verdict_line(verdict)))


def metric_lines(metric: Measured) -> list[str]:
    """Return the figure of a metric with its interval, and the drop from float with its own."""
    lines = [f"{metric.name} {shown(metric.value)} ({spelled_interval(metric.interval)})"]
    if metric.float_value is not None and metric.drop is not None:
        held = metric.drop_interval
        paired = f" ({spelled_interval(held)}, paired)" if held is not None else ""
        lines.append(f"  float {shown(metric.float_value)}, a drop of {shown(metric.drop)}{paired}")
    return lines


def verdict_line(verdict: Verdict) -> str:
    """Return the verdict in a few words."""
    return _ENDS[verdict.outcome]
