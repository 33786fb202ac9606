"""The gate passes, fails, is undecided, or says that it could not measure: one verdict."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from lowbitc.compiler.diagnostics import error
from lowbitc.gating import gate
from lowbitc.verdict import Check, Outcome, Subject, Verdict
from tests.cli.gating import digits, run_gate, samples

if TYPE_CHECKING:
    from pathlib import Path

_SUBJECT = Subject("x", "")


def _check(outcome: Outcome) -> Check:
    return Check("minimum", "top1", 0.5, 0.6, outcome, "a message")


def _float() -> tuple[str, str]:
    return "--reference", str(digits() / "digits.onnx")


def test_the_demo_network_passes_its_gate() -> None:
    result = run_gate("--min", "0.97", *_float(), "--max-drop", "0.02", "--format", "json")
    verdict = json.loads(result.stdout)
    assert result.exit_code == 0
    assert verdict["passed"] is True
    (top1,) = verdict["metrics"]
    assert top1["value"] >= 0.97
    assert top1["float_value"] >= 0.97
    assert top1["drop"] == pytest.approx(top1["float_value"] - top1["value"])
    assert top1["interval"][0] < top1["value"] < top1["interval"][1]
    assert {check["kind"] for check in verdict["checks"]} == {"chance", "minimum", "drop"}


def test_a_floor_that_is_not_met_fails_with_1_and_says_so() -> None:
    result = run_gate("--min", "0.9999")
    assert result.exit_code == 1
    assert "gate FAILED" in result.stdout
    assert "less than 0.9999" in result.stdout


def test_all_breaches_are_listed_not_the_first() -> None:
    result = run_gate("--min", "0.9999", "--max-nps", "1", "--max-energy", "1e-12")
    assert result.exit_code == 1
    assert result.stdout.count("NOT MET") == 3


def test_several_metrics_have_bounds_of_their_own() -> None:
    spelled = [part for name in ("top1", "agreement", "sqnr") for part in ("--metric", name)]
    bounds = ("--min", "top1=0.97", "--min", "agreement=0.98", "--min", "sqnr=10")
    result = run_gate(*spelled, *bounds, *_float(), "--max-drop", "0.02", "--format", "json")
    assert result.exit_code == 0
    found = {m["name"]: m["value"] for m in json.loads(result.stdout)["metrics"]}
    assert found["sqnr"] > 10
    assert found["agreement"] > 0.98


def test_an_onnx_model_is_compiled_first_and_is_its_own_reference() -> None:
    model = digits() / "digits.onnx"
    result = run_gate("--bits", "8/4/4", "--max-drop", "0.02", program=model)
    assert result.exit_code == 0
    assert "paired" in result.stdout


def test_a_gate_from_python_takes_numbers_or_dictionaries() -> None:
    program, data = digits() / "digits.lbc", digits() / "digits.test.npz"
    assert gate(program, data, minimum=0.97).passed
    found = gate(program, data, metric=("top1", "f1-macro"), minimum={"top1": 0.97, "f1-macro": 1})
    assert found.outcome is Outcome.FAILED
    assert len(found.breaches) == 1


# --- certainty -------------------------------------------------------------------------------


def test_a_figure_decides_unless_certainty_is_asked_for() -> None:
    program, data = digits() / "digits.lbc", digits() / "digits.test.npz"
    bound = f"{gate(program, data, minimum=0.9).value - 0.001}"
    assert run_gate("--min", bound).exit_code == 0
    undecided = run_gate("--min", bound, "--confidence", "0.95", "--format", "json")
    assert undecided.exit_code == 4
    verdict = json.loads(undecided.stdout)
    assert verdict["outcome"] == "undecided"
    (check,) = [c for c in verdict["checks"] if c["kind"] == "minimum"]
    assert check["samples_needed"] > 445


def test_too_few_samples_say_how_many_would_do() -> None:
    result = run_gate("--min", "0.98", "--confidence", "0.95", "--limit", "100")
    assert result.exit_code == 4
    assert "100 samples are too few to tell, about" in result.stdout
    assert "gate UNDECIDED" in result.stdout


def test_undecided_fails_with_1_where_that_is_asked_for() -> None:
    options = ("--min", "0.99", "--confidence", "0.95", "--undecided", "fail")
    assert run_gate(*options).exit_code == 1


def test_an_interval_on_one_side_of_the_bound_decides() -> None:
    assert run_gate("--min", "0.97", "--confidence", "0.95").exit_code == 0
    assert run_gate("--min", "0.9999", "--confidence", "0.95").exit_code == 1
    drop = ("--max-drop", "0.02", *_float())
    assert run_gate(*drop, "--confidence", "0.95").exit_code == 0


# --- baseline --------------------------------------------------------------------------------


def test_a_baseline_is_written_and_held(tmp_path: Path) -> None:
    path = tmp_path / "gate.json"
    assert run_gate("--min", "0.97", "--write-baseline", str(path)).exit_code == 0
    assert run_gate("--baseline", str(path)).exit_code == 0
    held = json.loads(path.read_text(encoding="utf-8"))
    held["metrics"]["top1"]["value"] += 0.003
    path.write_text(json.dumps(held), encoding="utf-8")
    worse = run_gate("--baseline", str(path))
    assert worse.exit_code == 1
    assert "worse by more than 0" in worse.stdout
    assert run_gate("--baseline", str(path), "--max-regression", "0.003").exit_code == 0
    held["metrics"]["top1"]["allowed"] = 0.003
    path.write_text(json.dumps(held), encoding="utf-8")
    assert run_gate("--baseline", str(path)).exit_code == 0


def test_a_baseline_is_the_same_bytes_again(tmp_path: Path) -> None:
    for name in ("a.json", "b.json"):
        assert run_gate("--write-baseline", str(tmp_path / name)).exit_code == 0
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_a_gate_that_fails_writes_no_baseline(tmp_path: Path) -> None:
    path = tmp_path / "gate.json"
    result = run_gate("--min", "0.9999", "--write-baseline", str(path))
    assert result.exit_code == 1
    assert not path.exists()


# --- budgets ---------------------------------------------------------------------------------


def test_budgets_are_held() -> None:
    assert run_gate("--max-nps", "4", "--max-cycles", "1e5", "--max-energy", "1").exit_code == 0
    result = run_gate("--max-nps", "3")
    assert result.exit_code == 1
    assert "nps is 4 by the chip's model, over the budget of 3" in result.stdout


# --- doubts ----------------------------------------------------------------------------------


def test_a_sample_that_calibration_saw_is_told() -> None:
    images, labels = samples()
    program = digits() / "digits.lbc"
    with np.load(digits() / "digits.calib.npz") as held:
        seen = held["x"][:1].astype(np.float32)
    data = {"x": np.concatenate((images, seen)), "y": np.append(labels, 0)}
    found = gate(program, data, minimum=0.9)
    assert found.passed
    assert [d.code for d in found.diagnostics] == ["LB760"]


def test_a_copy_among_many_samples_is_told() -> None:
    images, labels = samples()
    data = {"x": np.concatenate((images, images[:1])), "y": np.append(labels, labels[:1])}
    found = gate(digits() / "digits.lbc", data, minimum=0.9)
    assert found.passed
    assert found.repeats == 1
    assert [d.code for d in found.diagnostics] == ["LB755"]


def test_another_range_is_measured_where_it_is_accepted() -> None:
    images, labels = samples()
    program, data = digits() / "digits.lbc", {"x": images * 255, "y": labels}
    assert gate(program, data, minimum=0.2, accept_range=True).samples == len(images)


# --- one value -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcomes", "outcome", "code"),
    [
        ([Outcome.PASSED], Outcome.PASSED, 0),
        ([Outcome.PASSED, Outcome.FAILED, Outcome.UNDECIDED], Outcome.FAILED, 1),
        ([Outcome.PASSED, Outcome.UNDECIDED], Outcome.UNDECIDED, 4),
        ([], Outcome.UNMEASURED, 4),
    ],
)
def test_the_worst_check_is_the_outcome_and_the_exit_code(
    outcomes: list[Outcome], outcome: Outcome, code: int
) -> None:
    verdict = Verdict(_SUBJECT, _SUBJECT, checks=tuple(_check(o) for o in outcomes))
    assert (verdict.outcome, verdict.exit_code) == (outcome, code)
    assert verdict.passed is (code == 0)
    assert verdict.as_json()["passed"] is verdict.passed
    assert verdict.as_json()["exit_code"] == code


def test_an_error_unmakes_whatever_was_checked() -> None:
    checks = (_check(Outcome.PASSED),)
    verdict = Verdict(_SUBJECT, _SUBJECT, checks=checks, diagnostics=(error("LB735", "no"),))
    assert verdict.outcome is Outcome.UNMEASURED
    assert not verdict.passed


def test_the_digest_of_the_data_is_that_of_samples_and_labels(tmp_path: Path) -> None:
    images, labels = samples()
    program = digits() / "digits.lbc"
    same = gate(program, {"x": images, "y": labels.astype(np.int32)}, minimum=0.9)
    held = gate(program, digits() / "digits.test.npz", minimum=0.9)
    assert same.data.sha256 == held.data.sha256
    turned = gate(program, {"x": images[::-1].copy(), "y": labels[::-1].copy()}, minimum=0.9)
    other = gate(program, {"x": images, "y": np.roll(labels, 1)}, minimum=0.01)
    groups = np.r_[64:128, 0:64, 128 : len(images)]
    moved = gate(program, {"x": images[groups], "y": labels[groups]}, minimum=0.9)
    digests = {found.data.sha256 for found in (held, turned, other, moved)}
    assert len(digests) == 4
    np.savez_compressed(tmp_path / "packed.npz", x=images, y=labels)
    assert gate(program, tmp_path / "packed.npz", minimum=0.9).data == Subject(
        "packed.npz", held.data.sha256
    )
