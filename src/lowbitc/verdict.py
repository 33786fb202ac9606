"""What a gate measured and decided: one value, of which text, files and exit code are views."""

from __future__ import annotations

import enum
import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from lowbitc._version import VERSION
from lowbitc.compiler.diagnostics import Severity

if TYPE_CHECKING:
    from lowbitc.compiler.diagnostics import Diagnostic
    from lowbitc.compiler.metrics.intervals import Interval
    from lowbitc.targets.container import Json

SCHEMA = "lowbitc-gate-1"
"""Name and version of the result's form; docs/schemas/gate-1.json describes it."""
_MET, _NOT_MET, _NOT_MEASURED = 0, 1, 4


class Outcome(enum.Enum):
    """What became of a bound, or of the gate as a whole."""

    PASSED = "passed"
    FAILED = "failed"
    UNDECIDED = "undecided"
    UNMEASURED = "unmeasured"


@dataclass(frozen=True, slots=True)
class Check:
    """One bound: what was held against it, and what became of it.

    ``kind`` is minimum, maximum, drop, float, baseline, chance or cost. ``needed`` is how many
    samples would decide, where these do not and some number would.
    """

    kind: str
    metric: str
    bound: float
    value: float
    outcome: Outcome
    message: str
    interval: Interval | None = None
    needed: int | None = None

    @property
    def name(self) -> str:
        """Short name, the same from run to run."""
        return f"{self.metric} {self.kind}"


@dataclass(frozen=True, slots=True)
class Measured:
    """A metric of the program, with its interval; and of the float model on the same samples."""

    name: str
    higher_is_better: bool
    value: float
    interval: Interval
    float_value: float | None = None
    drop: float | None = None
    drop_interval: Interval | None = None


@dataclass(frozen=True, slots=True)
class Subject:
    """A file that a verdict is about: its name, and the SHA-256 of what it holds."""

    name: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """The whole result of a gate.

    ``confidence`` is that of all intervals; they decide where ``by_interval`` is true, and the
    figures themselves where not. ``stopped`` is the exit code of a gate that could not measure;
    ``diagnostics`` then say why.
    """

    program: Subject
    data: Subject
    samples: int = 0
    repeats: int = 0
    engine: str = ""
    confidence: float = 0.95
    by_interval: bool = False
    undecided_fails: bool = False
    metrics: tuple[Measured, ...] = ()
    costs: tuple[tuple[str, float], ...] = ()
    checks: tuple[Check, ...] = ()
    diagnostics: tuple[Diagnostic, ...] = ()
    stopped: int = _NOT_MEASURED

    @property
    def outcome(self) -> Outcome:
        """The worst of all checks; unmeasured where there is none, or an error."""
        if not self.checks or any(d.severity is Severity.ERROR for d in self.diagnostics):
            return Outcome.UNMEASURED
        found = {check.outcome for check in self.checks}
        worst = (Outcome.UNMEASURED, Outcome.FAILED, Outcome.UNDECIDED, Outcome.PASSED)
        return next(outcome for outcome in worst if outcome in found)

    @property
    def passed(self) -> bool:
        """Whether every bound was met, and that for certain where certainty was asked for."""
        return self.outcome is Outcome.PASSED

    @property
    def exit_code(self) -> int:
        """0 passed; 1 failed; 4 not measured or undecided; what stopped the gate where it did."""
        match self.outcome:
            case Outcome.PASSED:
                return _MET
            case Outcome.FAILED:
                return _NOT_MET
            case Outcome.UNDECIDED:
                return _NOT_MET if self.undecided_fails else _NOT_MEASURED
            case Outcome.UNMEASURED:
                return self.stopped

    @property
    def breaches(self) -> tuple[str, ...]:
        """What was not met, a sentence each."""
        return tuple(c.message for c in self.checks if c.outcome is not Outcome.PASSED)

    @property
    def value(self) -> float:
        """The first metric of the program."""
        return self.metrics[0].value

    @property
    def float_value(self) -> float | None:
        """The first metric of the float model."""
        return self.metrics[0].float_value

    @property
    def drop(self) -> float | None:
        """How much worse the first metric is than float's."""
        return self.metrics[0].drop

    def as_json(self) -> dict[str, Json]:
        """Return the published form: docs/schemas/gate-1.json."""
        return {
            "schema": SCHEMA,
            "tool": {"name": "lowbitc", "version": VERSION},
            "outcome": self.outcome.value,
            "passed": self.passed,
            "exit_code": self.exit_code,
            "program": asdict(self.program),
            "data": {**asdict(self.data), "samples": self.samples, "repeats": self.repeats},
            "engine": self.engine,
            "confidence": self.confidence,
            "decided_by": "interval" if self.by_interval else "value",
            "metrics": [_measured(m) for m in self.metrics],
            "cost": dict(self.costs),
            "checks": [_check(c) for c in self.checks],
            "diagnostics": [_diagnostic(d) for d in self.diagnostics],
        }


def _measured(held: Measured) -> Json:
    return {
        "name": held.name,
        "higher_is_better": held.higher_is_better,
        "value": _number(held.value),
        "interval": _bounds(held.interval),
        "float_value": _number(held.float_value),
        "drop": _number(held.drop),
        "drop_interval": _bounds(held.drop_interval),
    }


def _check(held: Check) -> Json:
    return {
        "name": held.name,
        "kind": held.kind,
        "metric": held.metric,
        "bound": _number(held.bound),
        "value": _number(held.value),
        "interval": _bounds(held.interval),
        "outcome": held.outcome.value,
        "message": held.message,
        "samples_needed": held.needed,
    }


def _diagnostic(held: Diagnostic) -> Json:
    return {
        "code": held.code,
        "severity": held.severity.value,
        "message": held.message,
        "found": held.found,
        "allowed": held.allowed,
        "hint": held.hint,
    }


def _number(value: float | None) -> Json:
    """JSON has no infinities: they are texts."""
    if value is None or math.isfinite(value):
        return value
    return "inf" if value > 0 else "-inf"


def _bounds(interval: Interval | None) -> Json:
    return None if interval is None else [_number(interval.low), _number(interval.high)]
