"""Bounds that a gate holds a program to, and how figures and intervals decide about them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lowbitc.compiler.diagnostics import Diagnostic, error, raise_errors
from lowbitc.compiler.metrics.intervals import (
    drop,
    drop_interval,
    samples_needed,
    value_interval,
)
from lowbitc.compiler.metrics.naming import parse_metrics
from lowbitc.verdict import Check, Measured, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lowbitc.compiler.metrics.intervals import Interval
    from lowbitc.compiler.metrics.metric import Metric
    from lowbitc.compiler.metrics.tally import Tally

    Limits = Mapping[str, float]
    """A number for each metric by name."""

COSTS = ("energy", "cycles", "nps")
"""Costs that can be bounded: joules and cycles a frame by the model, and NPs."""
PRINTED_CONFIDENCE = 0.95


def _none() -> Limits:
    return {}


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a program must meet.

    ``metrics`` are as they were spelled. A figure decides, or with ``confidence`` its interval.
    """

    metrics: tuple[str, ...] = ()
    minimum: Limits = field(default_factory=_none)
    maximum: Limits = field(default_factory=_none)
    max_drop: Limits = field(default_factory=_none)
    min_float: Limits = field(default_factory=_none)
    regression: Limits = field(default_factory=_none)
    costs: Limits = field(default_factory=_none)
    confidence: float | None = None
    undecided_fails: bool = False
    accept_range: bool = False

    @property
    def parsed(self) -> tuple[Metric, ...]:
        """The metrics; raises CompileError LB731 for those that are none."""
        return parse_metrics(self.metrics)

    @property
    def shown_confidence(self) -> float:
        """That of the intervals that are shown."""
        return PRINTED_CONFIDENCE if self.confidence is None else self.confidence


def limits(option: str, given: float | Limits | None, metrics: Sequence[Metric]) -> Limits:
    """Return a bound for each metric that is named; a number alone is for the only metric.

    Raises CompileError LB731 for what cannot be used as a bound.
    """
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        able = [metric for metric in metrics if _suits(option, metric)]
        if len(able) != 1:
            found = ", ".join(metric.name for metric in metrics)
            raise_errors(
                [
                    error(
                        "LB731",
                        f"{option} does not say of which metric",
                        found=f"{given}, and the metrics {found}",
                        allowed=f"{option} METRIC={given}",
                    )
                ]
            )
        given = {able[0].name: given}
    known = {metric.name: metric for metric in metrics}
    raise_errors(
        problem
        for name, bound in given.items()
        for problem in _wrong_bound(option, name, bound, known)
    )
    return dict(given)


def _suits(option: str, metric: Metric) -> bool:
    """Whether a metric can have such a bound."""
    traits = metric.traits
    return {
        "--min": traits.higher_is_better,
        "--max": not traits.higher_is_better,
        "--max-drop": not traits.fidelity,
        "--min-float": not traits.fidelity,
    }.get(option, True)


def _wrong_bound(
    option: str, name: str, bound: float, known: Mapping[str, Metric]
) -> Iterator[Diagnostic]:
    spelled = f"{option} {name}={bound:g}"
    if not math.isfinite(bound):
        yield error(
            "LB731", f"{option} is no number", found=spelled, allowed="a finite number, as 0.97"
        )
        return
    if name not in known:
        yield error(
            "LB731",
            f"{option} names a metric that is not measured",
            found=spelled,
            allowed=", ".join(known),
            hint=f"add --metric {name}",
        )
        return
    traits = known[name].traits
    if option == "--max-drop" and traits.fidelity:
        yield error(
            "LB731",
            f"{name} compares with the float model already, and has no drop",
            found=spelled,
            allowed=f"--{'min' if traits.higher_is_better else 'max'} {name}=VALUE",
        )
        return
    wrong_side = {"--min": not traits.higher_is_better, "--max": traits.higher_is_better}
    if wrong_side.get(option, False):
        side = "higher" if traits.higher_is_better else "lower"
        yield error(
            "LB731",
            f"{side} {name} is better: {option} would keep bad programs",
            found=spelled,
            allowed=f"--{'min' if traits.higher_is_better else 'max'} {name}=VALUE",
        )
    if bound < 0 and option in {"--max-drop", "--max-regression"}:
        yield error("LB731", f"{option} is below 0", found=spelled, allowed="0 and more")
    if traits.span is not None:
        yield from _unbreakable(option, spelled, bound, traits.span)


def _unbreakable(option: str, spelled: str, bound: float, span: float) -> Iterator[Diagnostic]:
    """Yield LB731 for a bound that is met, or missed, whatever comes out."""
    lower = option in {"--min", "--min-float"}
    inside = 0 < bound <= span if lower else 0 <= bound < span
    if not inside:
        yield error(
            "LB731",
            f"{option} decides nothing: every program {'meets' if _met(option, bound) else 'fails'}"
            " it",
            found=spelled,
            allowed="above 0, up to 1" if lower else "from 0, below 1",
            hint="a share of samples is written 0.97, not 97",
        )


def _met(option: str, bound: float) -> bool:
    return bound <= 0 if option in {"--min", "--min-float"} else bound > 0


def measured(metric: Metric, tally: Tally, confidence: float) -> Measured:
    """Return a metric of the program, and of the float model where it ran on the same samples."""
    value = metric.value(tally.rows())
    found = Measured(
        metric.name,
        metric.traits.higher_is_better,
        value,
        value_interval(metric, tally, confidence),
    )
    if not tally.paired:
        return found
    return Measured(
        found.name,
        found.higher_is_better,
        value,
        found.interval,
        metric.value(tally.rows(1)),
        drop(metric, tally),
        drop_interval(metric, tally, confidence),
    )


def checks(bounds: Bounds, metric: Metric, tally: Tally, found: Measured) -> Iterator[Check]:
    """Yield every check of one metric against its bounds."""
    name, higher = metric.name, metric.traits.higher_is_better
    chance = metric.chance(tally.rows())
    if chance is not None:
        better = found.value > chance if higher else found.value < chance
        yield Check(
            "chance",
            name,
            chance,
            found.value,
            Outcome.PASSED if better else Outcome.FAILED,
            f"{name} is {shown(found.value)}, "
            + ("better" if better else "no better")
            + f" than {shown(chance)} of knowing nothing",
        )
    if name in bounds.minimum:
        yield _decided(bounds, "minimum", metric, tally, bounds.minimum[name], found)
    if name in bounds.maximum:
        yield _decided(bounds, "maximum", metric, tally, bounds.maximum[name], found)
    if name in bounds.max_drop:
        yield _decided(bounds, "drop", metric, tally, bounds.max_drop[name], found)
    if name in bounds.min_float and found.float_value is not None:
        bound, value = bounds.min_float[name], found.float_value
        met = value >= bound if higher else value <= bound
        yield Check(
            "float",
            name,
            bound,
            value,
            Outcome.PASSED if met else Outcome.FAILED,
            f"the float model's {name} is {shown(value)}, "
            f"{'within' if met else 'beyond'} the bound {shown(bound)}",
        )


def _decided(
    bounds: Bounds, kind: str, metric: Metric, tally: Tally, bound: float, found: Measured
) -> Check:
    """Hold a figure, or its interval where confidence is asked for, against a bound."""
    drops = kind == "drop"
    value = found.drop if drops and found.drop is not None else found.value
    interval = found.drop_interval if drops else found.interval
    at_least = kind == "minimum"
    outcome = _outcome(value, interval, bound, at_least=at_least, certain=bounds.confidence)
    needed = None
    if outcome is Outcome.UNDECIDED and bounds.confidence is not None:
        needed = samples_needed(metric, tally, bound, bounds.confidence, drops=drops)
    what = f"the drop of {metric.name}" if drops else metric.name
    message = f"{what} is {shown(value)}, {_sides(outcome, at_least=at_least)} {shown(bound)}"
    if interval is not None and bounds.confidence is not None:
        message += f" ({bounds.confidence:.0%} interval {spelled_interval(interval)})"
    if outcome is Outcome.UNDECIDED:
        message += _would_do(tally.samples, needed)
    return Check(kind, metric.name, bound, value, outcome, message, interval, needed)


def _outcome(
    value: float,
    interval: Interval | None,
    bound: float,
    *,
    at_least: bool,
    certain: float | None,
) -> Outcome:
    sign = 1 if at_least else -1
    low, high = value, value
    if certain is not None and interval is not None:
        low, high = interval.low, interval.high
    worst, best = (low, high) if at_least else (high, low)
    if sign * worst >= sign * bound:
        return Outcome.PASSED
    return Outcome.FAILED if sign * best < sign * bound else Outcome.UNDECIDED


def _sides(outcome: Outcome, *, at_least: bool) -> str:
    if outcome is Outcome.UNDECIDED:
        return "too close to tell from"
    if outcome is Outcome.PASSED:
        return "at least" if at_least else "at most"
    return "less than" if at_least else "more than"


def _would_do(samples: int, needed: int | None) -> str:
    if needed is None:
        return f"; no number of samples like these {samples:,} would tell"
    return f"; {samples:,} samples are too few to tell, about {needed:,} would do"


def cost_checks(bounds: Bounds, costs: Mapping[str, float]) -> Iterator[Check]:
    """Yield the check of every budget."""
    for name, bound in bounds.costs.items():
        value = costs[name]
        met = value <= bound
        yield Check(
            "cost",
            name,
            bound,
            value,
            Outcome.PASSED if met else Outcome.FAILED,
            f"{name} is {value:.6g} by the chip's model, "
            f"{'within' if met else 'over'} the budget of {bound:.6g}",
        )


def wrong_costs(costs: Limits) -> Iterator[Diagnostic]:
    """Yield LB731 for budgets that are no positive numbers."""
    for name, bound in costs.items():
        if not (math.isfinite(bound) and bound > 0):
            yield error(
                "LB731",
                f"--max-{name} is no budget",
                found=str(bound),
                allowed="a number above 0",
            )


def shown(value: float) -> str:
    """Return a figure as text: four decimals, or four digits where that is more."""
    return f"{value:.4f}" if 0.01 <= abs(value) < 100 or value == 0 else f"{value:.4g}"  # noqa: PLR2004 - decimals suit figures about 1


def spelled_interval(interval: Interval) -> str:
    """Return an interval as text."""
    return f"{shown(interval.low)} to {shown(interval.high)}"
