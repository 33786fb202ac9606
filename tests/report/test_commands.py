"""Commands write the page of what they measured, and never leave an older one in its place."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result

from lowbitc.cli.main import lowbitc as command
from tests.report.pages import DATA, DEMO, program

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("digits") / "digits.lbc"
    program().save(path)
    return path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(command, [*arguments, "--data", str(DATA), "--limit", "60"])


def test_a_gate_shows_its_verdict_its_bound_and_float(digits: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    bounds = ["--min", "0.5", "--reference", str(DEMO / "digits.onnx"), "--max-drop", "0.4"]
    found = run("gate", str(digits), *bounds, "--report", str(page))
    assert found.exit_code == 0, found.output
    text = page.read_text(encoding="utf-8")
    assert "Gate passed" in text
    assert "bound 50.00 %" in text
    assert "; float " in text
    assert "95 % interval" in text


def test_a_failed_gate_fails_and_shows_it(digits: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    found = run("gate", str(digits), "--max-energy", "1e-12", "--report", str(page))
    assert found.exit_code == 1, found.output
    text = page.read_text(encoding="utf-8")
    assert "Gate failed" in text
    assert "Gate passed" not in text


def test_a_gate_that_could_not_measure_leaves_no_older_page(digits: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("Gate passed", encoding="utf-8")
    arguments = ["gate", str(digits), "--min", "0.5", "--report", str(page)]
    found = CliRunner().invoke(command, [*arguments, "--data", str(tmp_path / "absent.npz")])
    assert found.exit_code != 0
    assert not page.exists()


def test_a_gate_of_a_model_has_no_program_to_show(tmp_path: Path) -> None:
    page = str(tmp_path / "page.html")
    found = run("gate", str(DEMO / "digits.onnx"), "--min", "0.5", "--report", page)
    assert found.exit_code == 2
    assert "PROGRAM.lbc" in found.stderr


def test_a_simulation_shows_histograms_of_outputs_and_weights(digits: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    found = run("simulate", str(digits), "--report", str(page))
    assert found.exit_code == 0, found.output
    text = page.read_text(encoding="utf-8")
    assert "PACT clip" in text
    assert "Weights: " in text
