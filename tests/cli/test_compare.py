"""``lowbitc compare`` says which layer, in text and JSON, and writes what it suggests."""

from __future__ import annotations

import json
from importlib import resources
from typing import TYPE_CHECKING, Any, cast

import pytest
from click.testing import CliRunner, Result

import lowbitc
from lowbitc.cli.main import lowbitc as command
from lowbitc.compiler.config import read_config
from lowbitc.targets.container import Container
from lowbitc.targets.program import program_of

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with the demo's model, its data and its program at 8/2/2."""
    folder = tmp_path_factory.mktemp("digits")
    for part in resources.files("lowbitc").joinpath("demo").iterdir():
        (folder / part.name).write_bytes(part.read_bytes())
    lowbitc.compile(folder / "digits.onnx", bits="8/2/2", limit=64).save(folder / "digits.lbc")
    return folder


def compare(folder: Path, *options: str) -> Result:
    files = [str(folder / name) for name in ("digits.onnx", "digits.lbc")]
    few = ["--limit", "16", "--left-out", "4", "--threads", "1"]
    data = ["--data", str(folder / "digits.test.npz")]
    return CliRunner().invoke(command, ["compare", *files, *data, *few, *options])


def in_json(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.output
    return cast("dict[str, Any]", json.loads(result.stdout))


def test_every_layer_of_the_program_is_compared(digits: Path) -> None:
    found = in_json(compare(digits, "--format", "json"))
    assert found["samples"] == 16
    assert found["first_bad"] is None
    assert sorted(x["rank"] for x in found["layers"]) == list(range(1, len(found["layers"]) + 1))
    assert [x["name"] for x in sorted(found["layers"], key=lambda x: x["rank"])] == found["ranking"]
    assert found["metrics"].keys() == found["float_metrics"].keys() == {"top1", "top5"}
    layer = found["layers"][1]
    assert {"local", "accumulated", "expected_db", "use", "left_out", "sources"} <= layer.keys()
    assert 0 < layer["use"]["used_levels"] <= layer["use"]["levels"] == 4


def test_the_text_names_layers_as_the_model_does(digits: Path) -> None:
    result = compare(digits)
    found = in_json(compare(digits, "--format", "json"))
    assert result.exit_code == 0
    for layer in found["layers"]:
        assert layer["name"] in result.stdout
    assert "no layer loses more than its bits make it lose" in result.stdout


def test_the_suggestion_compiles_and_is_measured(digits: Path, tmp_path: Path) -> None:
    out, calib = tmp_path / "lowbitc.toml", str(digits / "digits.calib.npz")
    found = in_json(compare(digits, "--suggest", str(out), "--calib", calib, "--format", "json"))
    config = read_config(out)
    assert config.bits == "8/2/2"
    assert config.weights == "feedback"
    assert config.layers
    assert found["suggestion"]["changes"]
    bought = found["bought"]
    assert bought["samples"] == 16
    assert bought["size_bytes_after"] >= bought["size_bytes_before"]
    assert bought["output_sqnr_db_after"] > bought["output_sqnr_db_before"]
    assert set(bought["metrics_after"]) == set(bought["metrics_before"])


def test_measuring_without_a_suggestion_is_wrong_use(digits: Path) -> None:
    result = compare(digits, "--calib", str(digits / "digits.calib.npz"))
    assert result.exit_code == 2
    assert "--suggest" in result.stderr


def test_a_trained_program_is_compared_with_a_warning(digits: Path, tmp_path: Path) -> None:
    held = lowbitc.load(digits / "digits.lbc")
    options = {**held.options, "training": "ste, 3 epochs"}
    manifest = {**held.container.manifest, "options": options}
    path = tmp_path / "trained.lbc"
    program_of(Container(manifest, held.container.sections)).save(path)
    arguments = ["compare", str(digits / "digits.onnx"), str(path), "--limit", "4"]
    data = ["--data", str(digits / "digits.test.npz"), "--left-out", "0", "--threads", "1"]
    result = CliRunner().invoke(command, [*arguments, *data])
    assert result.exit_code == 0, result.output
    assert "LB775" in result.stderr
