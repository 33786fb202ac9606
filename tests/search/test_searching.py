"""--bits auto: bits within bounds, verified on other samples, written to be read and used."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from click.testing import CliRunner

import lowbitc
from lowbitc.cli.main import lowbitc as command
from lowbitc.compiler.config import read_config
from lowbitc.compiler.diagnostics import CompileError

if TYPE_CHECKING:
    from click.testing import Result


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("digits")
    for part in resources.files("lowbitc").joinpath("demo").iterdir():
        (folder / part.name).write_bytes(part.read_bytes())
    return folder


def _run(digits: Path, *options: object) -> Result:
    arguments = ["compile", digits / "digits.onnx", "--threads", 1, *options]
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def found(digits: Path) -> dict[str, Any]:
    result = _run(
        digits, "--bits", "auto", "--max-drop", "0.02", "--limit", 100, "--format", "json"
    )
    assert result.exit_code == 0, result.output
    held: dict[str, Any] = json.loads(result.stdout)
    return held


def test_the_chosen_mix_keeps_the_drop_and_saves_size_and_energy(found: dict[str, Any]) -> None:
    chosen, full = found["chosen"], found["full"]
    assert chosen["drop"] <= 0.02
    assert chosen["size_bytes"] < 0.8 * full["size_bytes"]
    assert chosen["energy_j"] < full["energy_j"]
    assert found["layers"]
    assert any(one == {"narrowed": len(found["layers"]), **chosen} for one in found["tried"])


def test_it_was_measured_on_samples_that_did_not_calibrate(
    digits: Path, found: dict[str, Any]
) -> None:
    samples = len(np.load(digits / "digits.calib.npz")["x"])
    assert found["calibrated_on"] + found["chosen"]["samples"] <= samples
    assert found["chosen"]["samples"] >= 8


def test_the_written_file_compiles_to_the_same_program(
    digits: Path, found: dict[str, Any], tmp_path: Path
) -> None:
    output = tmp_path / "again.lbc"
    assert _run(digits, "--config", found["config"], "-o", output).exit_code == 0
    assert lowbitc.load(output).digest == found["sha256"]


def test_the_written_file_tells_a_person_what_was_found(found: dict[str, Any]) -> None:
    path = Path(found["config"])
    text = path.read_text(encoding="utf-8")
    assert "against 8/8/8" in text
    assert f"{found['chosen']['drop']:.4f}" in text
    assert text.count("# alone: ") == text.count("[[layer]]") == len(read_config(path).layers)


def test_a_budget_is_kept_with_as_many_bits_as_it_leaves(
    digits: Path, found: dict[str, Any], tmp_path: Path
) -> None:
    most = (found["full"]["size_bytes"] + found["chosen"]["size_bytes"]) // 2
    mixed = lowbitc.search(digits / "digits.onnx", max_size=most, limit=40, threads=1)
    assert mixed.chosen.trial.size_bytes <= most
    assert mixed.chosen.mix.narrowed > 0
    mixed.chosen.trial.made.program.save(tmp_path / "mixed.lbc")
    assert (tmp_path / "mixed.lbc").stat().st_size == mixed.chosen.trial.size_bytes


def test_labels_count_where_there_are_some(digits: Path) -> None:
    data = np.load(digits / "digits.test.npz")
    labelled = {"x": data["x"][:100], "y": data["y"][:100]}
    mixed = lowbitc.search(
        digits / "digits.onnx", data=labelled, max_drop=0.03, limit=24, threads=1
    )
    trial = mixed.chosen.trial
    assert mixed.labelled
    assert trial.samples == 100
    assert trial.value is not None
    assert trial.float_value is not None
    assert trial.drop == pytest.approx(trial.float_value - trial.value)


def test_a_search_goes_down_from_the_most_bits_that_the_target_holds(
    digits: Path, tmp_path: Path
) -> None:
    few = ("--bits", "auto", "--max-drop", 0.05, "--limit", 24, "-o", tmp_path / "akd.lbc")
    result = _run(digits, *few, "--target", "akd1000", "--format", "json")
    assert result.exit_code == 0, result.output
    held = json.loads(result.stdout)
    config = read_config(Path(held["config"]))
    assert config.bits == "8/4/4"
    # The first layer may have 8 bits of weights; of all else there are at most 4 to begin with.
    widths = {w for layer in config.layers for w in (layer.weights, layer.activations) if w}
    assert widths <= {1, 2, 4}
    assert held["chosen"]["size_bytes"] < held["full"]["size_bytes"]
    assert _run(digits, "--config", held["config"], "-o", tmp_path / "again.lbc").exit_code == 0
    assert lowbitc.load(tmp_path / "again.lbc").digest == held["sha256"]


def test_calibration_samples_among_the_measured_ones_are_told(digits: Path) -> None:
    with np.load(digits / "digits.calib.npz") as seen, np.load(digits / "digits.test.npz") as other:
        x = np.concatenate((seen["x"][20:30], other["x"][:30]))
    data = {"x": x, "y": np.zeros(len(x), np.int64)}
    mixed = lowbitc.search(digits / "digits.onnx", data=data, max_size=10**9, limit=24, threads=1)
    # Only the first 24 calibrated, so only four of the ten were seen.
    (told,) = (d for d in mixed.diagnostics if d.code == "LB760")
    assert told.found == "4 of 40 samples"


@pytest.mark.parametrize(
    ("options", "code", "finding"),
    [
        (("--bits", "auto"), 2, "LB450"),
        (("--bits", "auto", "--max-drop", "-1"), 2, "LB450"),
        (("--bits", "auto", "--max-size", "10"), 1, "LB451"),
        (("--max-drop", "0.1"), 2, "--max-drop goes with --bits auto"),
        (("--bits", "auto", "--max-drop", "0.1", "--timings"), 2, "--timings"),
    ],
)
def test_wrong_use_and_bounds_that_cannot_be_kept_are_told(
    digits: Path, options: tuple[str, ...], code: int, finding: str
) -> None:
    result = _run(digits, *options)
    assert result.exit_code == code, result.output
    assert finding in result.stderr


def test_a_search_needs_samples(digits: Path, tmp_path: Path) -> None:
    (tmp_path / "alone.onnx").write_bytes((digits / "digits.onnx").read_bytes())
    with pytest.raises(CompileError) as refused:
        lowbitc.search(tmp_path / "alone.onnx", max_drop=0.1)
    assert refused.value.diagnostics[0].code == "LB453"
