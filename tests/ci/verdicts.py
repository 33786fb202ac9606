"""Verdicts of every outcome, real ones and made ones, for tests of how they are shown."""

from __future__ import annotations

import functools

from lowbitc.compiler.diagnostics import error, warning
from lowbitc.compiler.metrics.intervals import Interval
from lowbitc.gating import gate, unfinished, unmeasured, unwritten
from lowbitc.verdict import Check, Measured, Outcome, Subject, Verdict
from tests.cli.gating import digits

_HEX = "0" * 64


@functools.cache
def verdicts() -> dict[str, Verdict]:
    """Return verdicts by what they are."""
    folder = digits()
    program, data, model = (folder / f"digits.{kind}" for kind in ("lbc", "test.npz", "onnx"))
    passed = gate(
        program, data, metric=("top1", "sqnr"), minimum={"top1": 0.9, "sqnr": 5}, reference=model
    )
    return {
        "passed": passed,
        "failed": gate(program, data, minimum=0.9999, costs={"nps": 1, "cycles": 1}),
        "undecided": gate(program, data, minimum=0.98, confidence=0.999, limit=50),
        "unfinished": unfinished("digits.lbc", "digits.test.npz"),
        "unmeasured": unmeasured("digits.lbc", "none.npz", [error("LB726", "no", found="a")], 3),
        "unwritten": unwritten(passed, OSError(28, "No space left on device", "result.json")),
        "odd": _odd(),
    }


def _odd() -> Verdict:
    """Return what makes trouble: control characters, markup, no end of an interval, warnings."""
    name = 'a<b> & "c" | \x07\x1b[31m é,:%\nnext'
    infinite = Interval(float("-inf"), float("inf"))
    return Verdict(
        Subject(name, _HEX),
        Subject("data|<x>", _HEX),
        samples=3,
        engine="fast",
        metrics=(
            Measured(
                "sqnr",
                higher_is_better=True,
                value=float("inf"),
                interval=infinite,
                float_value=1.0,
                drop=0.0,
                drop_interval=infinite,
            ),
        ),
        checks=(
            Check("minimum", "sqnr", 3.0, float("inf"), Outcome.PASSED, name, infinite),
            Check("drop", "m:f", 0.1, 0.2, Outcome.FAILED, name, None, None),
        ),
        diagnostics=(warning("LB755", name, found="::error::x"),),
    )
