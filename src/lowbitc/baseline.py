"""A committed baseline: what a program reached on which data, and what may be lost of it."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from lowbitc.compiler.diagnostics import CompileError, Diagnostic, error
from lowbitc.compiler.replace_file import replace_file
from lowbitc.verdict import Check, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from lowbitc.verdict import Measured, Verdict

SCHEMA = "lowbitc-gate-baseline-1"


@dataclass(frozen=True, slots=True)
class Reached:
    """A figure of a metric, how the metric was spelled, and how much worse may pass."""

    spelled: str
    value: float
    allowed: float


@dataclass(frozen=True, slots=True)
class Baseline:
    """What a program reached; ``data`` is the digest of all samples and labels."""

    path: str
    program: str
    data: str
    samples: int
    metrics: Mapping[str, Reached]


def read_baseline(path: Path) -> Baseline:
    """Read a baseline; raises CompileError LB750 for a file that is none."""
    try:
        held: object = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        raise CompileError([_unreadable(path, str(problem))]) from problem
    try:
        return _decoded(path, cast("Mapping[str, object]", held))
    except (KeyError, TypeError, ValueError, AttributeError) as problem:
        found = f"{type(problem).__name__}: {problem}"
        raise CompileError([_unreadable(path, found)]) from problem


def _decoded(path: Path, held: Mapping[str, object]) -> Baseline:
    if held["schema"] != SCHEMA:
        message = f"schema {held['schema']!r}"
        raise ValueError(message)
    data = cast("Mapping[str, object]", held["data"])
    program = cast("Mapping[str, object]", held["program"])
    metrics = cast("Mapping[str, Mapping[str, object]]", held["metrics"])
    found = {
        name: Reached(str(m["metric"]), _finite(m["value"]), _finite(m["allowed"]))
        for name, m in metrics.items()
    }
    if not found or any(reached.allowed < 0 for reached in found.values()):
        message = "no metrics, or a loss below 0"
        raise ValueError(message)
    samples = int(_finite(data["samples"]))
    return Baseline(str(path), str(program["sha256"]), str(data["sha256"]), samples, found)


def _finite(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        message = f"{value!r} is no finite number"
        raise ValueError(message)
    return float(value)


def write_baseline(
    path: Path, verdict: Verdict, spelled: Mapping[str, str], allowed: Mapping[str, float]
) -> None:
    """Write what a verdict measured, to be committed; raises OSError where it cannot."""
    held = {
        "schema": SCHEMA,
        "program": {"name": verdict.program.name, "sha256": verdict.program.sha256},
        "data": {
            "name": verdict.data.name,
            "sha256": verdict.data.sha256,
            "samples": verdict.samples,
        },
        "metrics": {
            m.name: {
                "metric": spelled[m.name],
                "value": m.value,
                "allowed": allowed.get(m.name, 0.0),
            }
            for m in verdict.metrics
        },
    }
    text = json.dumps(held, indent=2, sort_keys=True, allow_nan=False)
    replace_file(path, [text.encode("utf-8"), b"\n"])


def other_data(held: Baseline, sha256: str, samples: int) -> Iterator[Diagnostic]:
    """Yield LB751 where a baseline is about other samples than those measured."""
    if (held.data, held.samples) != (sha256, samples):
        yield error(
            "LB751",
            f"{held.path} was measured on other data",
            found=f"{samples:,} samples with digest {sha256[:12]}",
            allowed=f"{held.samples:,} samples with digest {held.data[:12]}",
            hint="give the data of the baseline, or write a new one with --write-baseline",
        )


def baseline_checks(
    held: Baseline, metrics: Mapping[str, Measured], regression: Mapping[str, float]
) -> Iterator[Check]:
    """Hold every metric of a baseline against what was reached; the figures decide.

    The samples are the same and the program computes with integers: whatever differs is real.
    """
    for name, reached in sorted(held.metrics.items()):
        now = metrics[name]
        worse = reached.value - now.value if now.higher_is_better else now.value - reached.value
        allowed = regression.get(name, reached.allowed)
        # Figures are rounded to doubles; a loss that is allowed to the digit must not fail by it.
        met = worse <= allowed or math.isclose(worse, allowed, rel_tol=1e-12, abs_tol=1e-15)
        yield Check(
            "baseline",
            name,
            reached.value,
            now.value,
            Outcome.PASSED if met else Outcome.FAILED,
            f"{name} is {now.value:.6g} and was {reached.value:.6g}: "
            + (f"within {allowed:g} of the baseline" if met else f"worse by more than {allowed:g}"),
        )


def _unreadable(path: Path, found: str) -> Diagnostic:
    return error(
        "LB750",
        f"{path} is no baseline of a gate",
        found=found,
        allowed=f"JSON with schema {SCHEMA}, as --write-baseline writes it",
        hint="write it again with --write-baseline",
    )
