"""The gate passes, fails, or says that it could not measure: three exit codes, one verdict."""

from __future__ import annotations

import json
from importlib import resources
from typing import TYPE_CHECKING

import numpy as np
import pytest
from click.testing import CliRunner, Result

import lowbitc
from lowbitc.cli.main import lowbitc as command
from lowbitc.gating import Verdict, gate

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with the demo's model, its data and its program at 8/4/4."""
    folder = tmp_path_factory.mktemp("digits")
    for part in resources.files("lowbitc").joinpath("demo").iterdir():
        (folder / part.name).write_bytes(part.read_bytes())
    lowbitc.compile(folder / "digits.onnx", bits="8/4/4").save(folder / "digits.lbc")
    return folder


def _gate(folder: Path, *options: str) -> Result:
    program, data = (str(folder / name) for name in ("digits.lbc", "digits.test.npz"))
    return CliRunner().invoke(command, ["gate", program, "--data", data, *options])


def test_the_demo_network_passes_its_gate(digits: Path) -> None:
    reference = str(digits / "digits.onnx")
    options = ("--min", "0.97", "--reference", reference, "--max-drop", "0.02")
    result = _gate(digits, *options, "--format", "json")
    verdict = json.loads(result.stdout)
    assert result.exit_code == 0
    assert verdict["passed"] is True
    assert verdict["value"] >= 0.97
    assert verdict["float_value"] >= 0.97
    assert verdict["drop"] == pytest.approx(verdict["float_value"] - verdict["value"])


def test_a_floor_that_is_not_met_fails_with_1_and_says_so(digits: Path) -> None:
    result = _gate(digits, "--min", "0.9999")
    assert result.exit_code == 1
    assert "gate FAILED" in result.stdout
    assert "less than 0.9999" in result.stdout


def test_labels_shifted_by_one_do_not_pass(digits: Path, tmp_path: Path) -> None:
    with np.load(digits / "digits.test.npz") as held:
        np.savez(tmp_path / "shifted.npz", x=held["x"], y=(held["y"] + 1) % 10)
    verdict = gate(digits / "digits.lbc", tmp_path / "shifted.npz", minimum=0.5)
    assert not verdict.passed


def test_data_without_labels_could_not_be_measured(digits: Path, tmp_path: Path) -> None:
    with np.load(digits / "digits.test.npz") as held:
        np.savez(tmp_path / "unlabeled.npz", x=held["x"])
    data = str(tmp_path / "unlabeled.npz")
    program = str(digits / "digits.lbc")
    result = CliRunner().invoke(command, ["gate", program, "--data", data, "--min", "0.1"])
    assert result.exit_code == 4
    assert "LB735" in result.stderr


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--min", "nan"),
        ("--min", "-0.1"),
        ("--min", "97"),
        ("--max-drop", "0.01"),
        ("--min", "0.9", "--metric", "top3"),
    ],
)
def test_bounds_that_cannot_be_used_are_wrong_use(digits: Path, options: tuple[str, ...]) -> None:
    result = _gate(digits, *options)
    assert result.exit_code == 2
    assert "LB731" in result.stderr


def test_a_program_that_does_not_load_does_not_pass(digits: Path) -> None:
    damaged = digits / "damaged.lbc"
    damaged.write_bytes((digits / "digits.lbc").read_bytes()[:-7])
    data = str(digits / "digits.test.npz")
    result = CliRunner().invoke(command, ["gate", str(damaged), "--data", data, "--min", "0"])
    assert result.exit_code == 3


def test_text_json_and_exit_code_come_from_one_value() -> None:
    verdict = Verdict("top1", 10, 0.5, 0.6, None, None, None, ("top1 is 0.5",))
    assert not verdict.passed
    assert verdict.as_json()["passed"] is False
