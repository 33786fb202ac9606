"""The verdict as SARIF 2.1.0, for code scanning."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.parse import quote

from lowbitc._version import VERSION
from lowbitc.compiler.codes import CATALOGUE
from lowbitc.verdict import Outcome

if TYPE_CHECKING:
    from lowbitc.cli.present import Json
    from lowbitc.compiler.diagnostics import Diagnostic
    from lowbitc.verdict import Check, Verdict

_LEVELS = {
    Outcome.PASSED: "none",
    Outcome.FAILED: "error",
    Outcome.UNDECIDED: "warning",
    Outcome.UNMEASURED: "error",
}
_KINDS = {Outcome.PASSED: "pass", Outcome.FAILED: "fail", Outcome.UNDECIDED: "fail"}
_RULES = {
    "minimum": "A metric is at least its floor",
    "maximum": "A metric is at most its ceiling",
    "drop": "A program is not worse than the float model by more than is allowed",
    "float": "The float model itself reaches its bound",
    "baseline": "A metric is not worse than the committed baseline",
    "chance": "A program is better than one that knows nothing",
    "cost": "A cost by the chip's model is within its budget",
    "recorded": "A baseline is written only for a program that meets every bound",
}


def sarif_text(verdict: Verdict, uri: str) -> str:
    """Return the log; ``uri`` is the file that results are shown at.

    Checks are results. What kept the gate from measuring are notifications, and a result too,
    since code scanning shows results alone.
    """
    stopped = [] if verdict.outcome is not Outcome.UNMEASURED else list(verdict.diagnostics)
    log: Json = {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "lowbitc",
                        "version": VERSION,
                        "rules": [*_rules(verdict), *_problem_rules(stopped)],
                    }
                },
                "invocations": [
                    {
                        "executionSuccessful": verdict.outcome is not Outcome.UNMEASURED,
                        "exitCode": verdict.exit_code,
                        "toolExecutionNotifications": [_notification(d) for d in stopped],
                    }
                ],
                "results": [
                    *(_result(check, uri) for check in verdict.checks),
                    *(_problem(d, uri) for d in stopped),
                ],
                "columnKind": "unicodeCodePoints",
            }
        ],
    }
    return json.dumps(log, indent=2, sort_keys=True, allow_nan=False) + "\n"


def _rules(verdict: Verdict) -> list[Json]:
    kinds = sorted({check.kind for check in verdict.checks})
    return [{"id": f"gate/{kind}", "shortDescription": {"text": _RULES[kind]}} for kind in kinds]


def _problem_rules(stopped: list[Diagnostic]) -> list[Json]:
    return [
        {
            "id": code,
            "shortDescription": {"text": CATALOGUE[code].title},
            "fullDescription": {"text": f"{CATALOGUE[code].what} {CATALOGUE[code].why}"},
            "help": {"text": CATALOGUE[code].remedy},
        }
        for code in sorted({d.code for d in stopped})
    ]


def _result(check: Check, uri: str) -> Json:
    return {
        "ruleId": f"gate/{check.kind}",
        "kind": _KINDS.get(check.outcome, "fail"),
        "level": _LEVELS[check.outcome],
        "message": {"text": check.message},
        "locations": [_location(uri)],
        # The same finding keeps its identity while its figures change.
        "partialFingerprints": {"lowbitcCheck/v1": check.name},
    }


def _problem(problem: Diagnostic, uri: str) -> Json:
    return {
        "ruleId": problem.code,
        "level": problem.severity.value,
        "message": {"text": _sentence(problem)},
        "locations": [_location(uri)],
        "partialFingerprints": {"lowbitcCheck/v1": problem.code},
    }


def _notification(problem: Diagnostic) -> Json:
    return {
        "descriptor": {"id": problem.code},
        "level": problem.severity.value,
        "message": {"text": _sentence(problem)},
    }


def _sentence(problem: Diagnostic) -> str:
    found = f" (found: {problem.found})" if problem.found else ""
    return f"{problem.message}{found}"


def _location(uri: str) -> Json:
    return {
        "physicalLocation": {
            "artifactLocation": {"uri": quote(uri)},
            "region": {"startLine": 1},
        }
    }
