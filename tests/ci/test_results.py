"""A result is what its schema says, and what its consumers read, for every outcome."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import jsonschema
import junitparser
import pytest
from pydantic_sarif.model import StaticAnalysisResultsFormatSarifVersion210JsonSchema as Log

from lowbitc.cli.present import canonical_json
from lowbitc.cli.verdicts.github import summary, workflow_commands
from lowbitc.cli.verdicts.junit import junit_xml
from lowbitc.cli.verdicts.sarif import sarif_text
from lowbitc.cli.verdicts.text import verdict_text
from tests.ci.verdicts import verdicts
from tests.cli.gating import run_gate

_ROOT = Path(__file__).parent.parent.parent
_SCHEMA = json.loads((_ROOT / "docs/schemas/gate-1.json").read_text(encoding="utf-8"))
NAMES = ("passed", "failed", "undecided", "unfinished", "unmeasured", "unwritten", "odd")
CODES = {"passed": 0, "failed": 1, "undecided": 4, "unmeasured": 3, "odd": 1}


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(_SCHEMA)


@pytest.mark.parametrize("name", NAMES)
def test_every_result_is_what_the_schema_says(name: str) -> None:
    held = json.loads(canonical_json(verdicts()[name].as_json()))
    jsonschema.validate(held, _SCHEMA)
    assert held["exit_code"] == CODES.get(name, 4)
    assert held["passed"] is (name == "passed")


@pytest.mark.parametrize(
    ("field", "value"), [("passed", False), ("exit_code", 1), ("checks", []), ("outcome", "good")]
)
def test_the_schema_holds_outcome_flag_and_exit_code_together(field: str, value: object) -> None:
    held = json.loads(canonical_json(verdicts()["passed"].as_json()))
    held[field] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(held, _SCHEMA)


@pytest.mark.parametrize("name", NAMES)
def test_junit_is_read_with_one_case_a_bound(name: str) -> None:
    verdict = verdicts()[name]
    read = junitparser.JUnitXml.fromstring(junit_xml(verdict).encode("utf-8"))
    (suite,) = list(read)
    cases = list(suite)
    results = [result for case in cases for result in case.result]
    failures = sum(isinstance(r, junitparser.Failure) for r in results)
    errors = sum(isinstance(r, junitparser.Error) for r in results)
    assert (suite.tests, suite.failures, suite.errors) == (len(cases), failures, errors)
    assert len(cases) >= max(len(verdict.checks), 1)
    assert (failures + errors == 0) is verdict.passed


@pytest.mark.parametrize("name", NAMES)
def test_junit_holds_no_character_that_xml_forbids(name: str) -> None:
    text = junit_xml(verdicts()[name])
    assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f]", text)
    ET.fromstring(text)  # noqa: S314 - our own


@pytest.mark.parametrize("name", NAMES)
def test_sarif_is_read_by_the_models_of_its_schema(name: str) -> None:
    verdict = verdicts()[name]
    text = sarif_text(verdict, "models/a b.lbc")
    Log.model_validate_json(text)  # it forbids what the schema does not have
    (held,) = json.loads(text)["runs"]
    rules = {rule["id"] for rule in held["tool"]["driver"]["rules"]}
    assert {result["ruleId"] for result in held["results"]} <= rules
    assert held["invocations"][0]["exitCode"] == verdict.exit_code
    assert held["invocations"][0]["executionSuccessful"] is bool(
        verdict.outcome.value != "unmeasured"
    )
    shown = [r for r in held["results"] if r.get("kind", "fail") == "fail"]
    assert bool(shown) is not verdict.passed
    for result in held["results"]:
        place = result["locations"][0]["physicalLocation"]
        assert place["artifactLocation"]["uri"] == "models/a%20b.lbc"


@pytest.mark.parametrize("name", NAMES)
def test_workflow_commands_are_one_a_line_and_escape_the_rest(name: str) -> None:
    verdict = verdicts()[name]
    lines = workflow_commands(verdict, "a,b:c.lbc").splitlines()
    for line in lines:
        assert re.match(r"::(error|warning|notice) file=a%2Cb%3Ac\.lbc,title=[^:,]+::.+", line)
    assert any(line.startswith("::error") for line in lines) is not verdict.passed


@pytest.mark.parametrize("name", NAMES)
def test_a_summary_has_a_row_for_every_bound_and_finding(name: str) -> None:
    verdict = verdicts()[name]
    text = summary(verdict)
    rows = [line for line in text.splitlines() if line.startswith("|")]
    wanted = len(verdict.metrics) + len(verdict.checks) + len(verdict.diagnostics)
    heads = 2 * sum(map(bool, (verdict.metrics, verdict.checks, verdict.diagnostics)))
    assert len(rows) == wanted + heads
    columns = {len(re.findall(r"(?<!\\)\|", row)) for row in rows}
    assert columns <= {4, 7}


@pytest.mark.parametrize("name", NAMES)
def test_text_ends_with_the_verdict(name: str) -> None:
    verdict = verdicts()[name]
    last = verdict_text(verdict).splitlines()[-1]
    assert last.startswith("gate ")
    assert (last == "gate passed") is verdict.passed


def test_files_and_stdout_are_the_same(tmp_path: Path) -> None:
    forms = {"json": "r.json", "junit": "r.xml", "sarif": "r.sarif", "markdown": "r.md"}
    for style, name in forms.items():
        path = tmp_path / name
        result = run_gate("--min", "0.9", "--format", style, "--output", str(path))
        assert result.exit_code == 0
        assert path.read_text(encoding="utf-8") == result.stdout


def test_a_gate_that_could_not_measure_writes_every_form_too(tmp_path: Path) -> None:
    paths = [tmp_path / f"r.{suffix}" for suffix in ("json", "xml", "sarif", "md")]
    outputs = [part for path in paths for part in ("--output", str(path))]
    result = run_gate("--min", "0.9", *outputs, data=tmp_path / "none.npz")
    assert result.exit_code == 3
    assert json.loads(paths[0].read_text(encoding="utf-8"))["diagnostics"][0]["code"] == "LB726"
    assert all("LB726" in path.read_text(encoding="utf-8") for path in paths)


def test_githubs_summary_is_appended_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "summary.md"
    path.write_text("before\n", encoding="utf-8")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(path))
    result = run_gate("--min", "0.9999", "--format", "github")
    assert result.exit_code == 1
    assert "::error file=" in result.stdout
    text = path.read_text(encoding="utf-8")
    assert text.startswith("before\n### ")
    assert "gate FAILED" in text
