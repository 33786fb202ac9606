"""A sweep measures settings and mixes on the same samples, and says which are worth taking."""

from __future__ import annotations

import json
from importlib import resources
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from lowbitc.cli.main import lowbitc as command
from lowbitc.compiler.config import read_config

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("digits")
    for part in resources.files("lowbitc").joinpath("demo").iterdir():
        (folder / part.name).write_bytes(part.read_bytes())
    return folder


@pytest.fixture(scope="module")
def swept(digits: Path) -> dict[str, Any]:
    arguments = ("--bits", "8/8/8", "--bits", "1/1/1", "--mixes", "1", "--limit", "32")
    configs = ("--write-configs", str(digits / "mixes"), "--threads", "1", "--format", "json")
    data = ("--data", str(digits / "digits.test.npz"))
    model = str(digits / "digits.onnx")
    result = CliRunner().invoke(command, ["sweep", model, *data, *arguments, *configs])
    assert result.exit_code == 0, result.output
    held: dict[str, Any] = json.loads(result.stdout)
    return held


def test_all_settings_are_measured_with_labels_and_the_largest_comes_first(
    swept: dict[str, Any],
) -> None:
    points = swept["points"]
    assert {p["name"] for p in points} == {"8/8/8", "1/1/1", "mix 1"}
    assert {p["samples"] for p in points} == {swept["samples"]} == {445}
    sizes = [p["size_bytes"] for p in points]
    assert sizes == sorted(sizes, reverse=True)
    for point in points:
        assert point["drop"] == pytest.approx(point["float_value"] - point["value"])


def test_what_another_beats_in_everything_is_not_on_the_front(swept: dict[str, Any]) -> None:
    for point in swept["points"]:
        beaten = [
            other
            for other in swept["points"]
            if other is not point
            and all(other[k] <= point[k] for k in ("drop", "size_bytes", "energy_j"))
        ]
        assert point["front"] is not bool(beaten)


def test_a_width_that_rounding_does_not_reach_needs_training(swept: dict[str, Any]) -> None:
    held = {p["name"]: p["needs_training"] for p in swept["points"]}
    assert held == {"8/8/8": False, "1/1/1": True, "mix 1": False}


def test_mixes_are_written_as_files_to_compile_with(digits: Path, swept: dict[str, Any]) -> None:
    config = read_config(digits / "mixes" / "mix1.lowbitc.toml")
    assert config.layers
    assert config.limit == 32
    assert len(list((digits / "mixes").iterdir())) == sum(p["mixed"] for p in swept["points"])


def test_a_setting_that_is_none_is_wrong_use(digits: Path) -> None:
    result = CliRunner().invoke(command, ["sweep", str(digits / "digits.onnx"), "--bits", "8/3"])
    assert result.exit_code == 2
    assert "LB401" in result.stderr


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ((), "calibration samples that were kept apart"),
        (("--data", "digits.test.npz"), "samples of"),
    ],
)
def test_what_the_losses_were_measured_on_is_said(
    digits: Path, data: tuple[str, ...], said: str
) -> None:
    given = [str(digits / part) if part.endswith(".npz") else part for part in data]
    few = ["--bits", "8/8/8", "--mixes", "0", "--threads", "1"]
    result = CliRunner().invoke(command, ["sweep", str(digits / "digits.onnx"), *given, *few])
    assert result.exit_code == 0, result.output
    assert said in result.stdout
    assert all(path in result.stdout for path in given if path.endswith(".npz"))
    assert "LB760" not in result.stderr


def test_calibration_samples_among_the_measured_ones_are_told(digits: Path) -> None:
    few = ["--bits", "8/8/8", "--mixes", "0", "--threads", "1", "--limit", "32"]
    data = str(digits / "digits.calib.npz")
    result = CliRunner().invoke(
        command, ["sweep", str(digits / "digits.onnx"), "--data", data, *few]
    )
    assert result.exit_code == 0, result.output
    assert "LB760" in result.stderr
    assert "32 of 256 samples" in result.stderr


def test_a_setting_that_the_target_does_not_hold_is_wrong_use(digits: Path) -> None:
    few = ["--bits", "8/4/4", "--bits", "8/8/8", "--target", "akd1000"]
    result = CliRunner().invoke(command, ["sweep", str(digits / "digits.onnx"), *few])
    assert result.exit_code == 2
    assert "akd1000 does not hold weights of 8 bits" in result.stderr
