"""The verdict as JUnit XML: a test case for every bound."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from lowbitc.compiler.diagnostics import Severity
from lowbitc.verdict import Outcome

if TYPE_CHECKING:
    from lowbitc.compiler.diagnostics import Diagnostic
    from lowbitc.verdict import Verdict

# XML holds no control characters, not even escaped.
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_TAGS = {Outcome.FAILED: "failure", Outcome.UNDECIDED: "error", Outcome.UNMEASURED: "error"}


def junit_xml(verdict: Verdict) -> str:
    """Return the document; a gate that could not measure, or not decide, has errors."""
    errors = [d for d in verdict.diagnostics if d.severity is Severity.ERROR]
    wrong = [_TAGS[c.outcome] for c in verdict.checks if c.outcome is not Outcome.PASSED]
    if verdict.outcome is Outcome.UNMEASURED:
        wrong += ["error"] * max(len(errors), 1)
    counts = {
        "tests": str(len(verdict.checks) + wrong.count("error") if errors else len(verdict.checks)),
        "failures": str(wrong.count("failure")),
        "errors": str(wrong.count("error")),
    }
    if verdict.outcome is Outcome.UNMEASURED:
        counts["tests"] = str(len(verdict.checks) + max(len(errors), 1))
    root = ET.Element("testsuites", {"name": "lowbitc gate", **counts})
    suite = ET.SubElement(root, "testsuite", {"name": _clean(verdict.program.name), **counts})
    properties = ET.SubElement(suite, "properties")
    for name, value in _properties(verdict).items():
        ET.SubElement(properties, "property", {"name": name, "value": _clean(value)})
    for check in verdict.checks:
        case = _case(suite, verdict, check.name)
        if check.outcome is not Outcome.PASSED:
            held = {"message": _clean(check.message), "type": check.outcome.value}
            ET.SubElement(case, _TAGS[check.outcome], held).text = _clean(check.message)
        else:
            ET.SubElement(case, "system-out").text = _clean(check.message)
    if verdict.outcome is Outcome.UNMEASURED:
        for problem in errors:
            case = _case(suite, verdict, f"measure {problem.code}")
            held = {"message": _clean(problem.message), "type": problem.code}
            ET.SubElement(case, "error", held).text = _clean(_details(problem))
        if not errors:
            case = _case(suite, verdict, "measure")
            ET.SubElement(case, "error", {"message": "nothing was checked", "type": "LB735"})
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, "unicode") + "\n"


def _case(suite: ET.Element, verdict: Verdict, name: str) -> ET.Element:
    held = {"classname": f"lowbitc.gate.{verdict.program.name}", "name": name}
    return ET.SubElement(suite, "testcase", {key: _clean(text) for key, text in held.items()})


def _properties(verdict: Verdict) -> dict[str, str]:
    return {
        "outcome": verdict.outcome.value,
        "samples": str(verdict.samples),
        "program_sha256": verdict.program.sha256,
        "data_sha256": verdict.data.sha256,
        **{metric.name: repr(metric.value) for metric in verdict.metrics},
        **{name: repr(value) for name, value in verdict.costs},
    }


def _details(problem: Diagnostic) -> str:
    lines = (("found", problem.found), ("allowed", problem.allowed), ("help", problem.hint))
    return "\n".join(
        (problem.message, *(f"{label}: {detail}" for label, detail in lines if detail))
    )


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("\ufffd", text)
