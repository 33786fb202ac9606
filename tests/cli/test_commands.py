"""The commands, on the network that comes with the package."""

from __future__ import annotations

import json
from importlib import resources
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from click.testing import CliRunner

from lowbitc import load
from lowbitc.cli.main import lowbitc
from lowbitc.compiler.text import parse_graph, print_graph

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result


def run(*arguments: object) -> Result:
    return CliRunner().invoke(lowbitc, [str(argument) for argument in arguments])


def run_json(*arguments: object) -> Any:  # noqa: ANN401 - JSON has no closer type
    result = run(*arguments, "--format", "json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder with the demo's model, its data, and a program made from them."""
    path = tmp_path_factory.mktemp("demo")
    for part in resources.files("lowbitc").joinpath("demo").iterdir():
        (path / part.name).write_bytes(part.read_bytes())
    result = run("compile", path / "digits.onnx", "--bits", "8/4/4", "--threads", 1)
    assert result.exit_code == 0, result.output
    return path


# --- compile ---------------------------------------------------------------------------------


def test_compile_writes_the_program_beside_the_model(folder: Path) -> None:
    assert load(folder / "digits.lbc").name == "digits"


def test_compile_uses_the_samples_that_lie_beside_the_model(folder: Path) -> None:
    made = run_json("compile", folder / "digits.onnx", "-o", folder / "beside.lbc")
    assert made["options"]["calibration"] == "data"


def test_compile_without_samples_warns_that_it_costs_accuracy(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "alone.onnx").write_bytes((folder / "digits.onnx").read_bytes())
    result = run("compile", tmp_path / "alone.onnx")
    assert result.exit_code == 0
    assert "warning[LB310]" in result.stderr
    assert (tmp_path / "alone.lbc").exists()


def test_compile_gives_the_same_bytes_again_whatever_the_threads(folder: Path) -> None:
    again = folder / "again.lbc"
    run_json("compile", folder / "digits.onnx", "--bits", "8/4/4", "--threads", 2, "-o", again)
    assert again.read_bytes() == (folder / "digits.lbc").read_bytes()


def test_compile_says_how_long_passes_took(folder: Path) -> None:
    made = run_json("compile", folder / "digits.onnx", "-o", folder / "x.lbc", "--timings")
    assert "fold-batchnorm" in {row["name"] for row in made["timings"]}


def test_compile_reports_the_gap_of_every_float_pass(folder: Path) -> None:
    model = folder / "digits.onnx"
    made = run_json("compile", model, "-o", folder / "x.lbc", "--verify-numerics")
    messages = [d["message"] for d in made["diagnostics"] if d["code"] == "LB909"]
    assert any(message.startswith("fold-batchnorm: ") for message in messages)


def test_a_verification_without_samples_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "alone.onnx").write_bytes((folder / "digits.onnx").read_bytes())
    result = run("compile", tmp_path / "alone.onnx", "--verify-numerics")
    assert result.exit_code == 4
    assert "LB906" in result.stderr


def test_compile_prints_the_graph_after_a_pass(folder: Path) -> None:
    arguments = ("-o", folder / "x.lbc", "--dump-after", "fold-batchnorm")
    made = run_json("compile", folder / "digits.onnx", *arguments)
    assert made["dumps"]["fold-batchnorm"].startswith("lowbitc-ir ")


def test_a_dump_after_an_unknown_pass_is_wrong_use(folder: Path) -> None:
    arguments = ("-o", folder / "x.lbc", "--dump-after", "fold-batchnrom")
    result = run("compile", folder / "digits.onnx", *arguments)
    assert result.exit_code == 2
    assert "fold-batchnorm" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [("--bits", "8/4"), ("--clip", "median"), ("--shape", "x"), ("--limit", "0")],
)
def test_a_setting_that_is_not_allowed_is_wrong_use(
    folder: Path, arguments: tuple[str, str]
) -> None:
    assert run("compile", folder / "digits.onnx", *arguments).exit_code == 2


def test_a_missing_model_is_bad_input(tmp_path: Path) -> None:
    result = run("compile", tmp_path / "none.onnx")
    assert result.exit_code == 3
    assert "none.onnx" in result.stderr
    assert "LB900" not in result.stderr


def test_a_file_that_is_no_model_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("not a model", encoding="utf-8")
    assert run("compile", tmp_path / "text.onnx").exit_code == 3


# --- simulate --------------------------------------------------------------------------------


def test_simulate_measures_the_demo_network_within_a_point_of_its_float_accuracy(
    folder: Path,
) -> None:
    found = run_json("simulate", folder / "digits.lbc", "--data", folder / "digits.test.npz")
    assert found["samples"] == 445
    assert found["metrics"]["top1"] >= 0.98
    assert found["device"]["mac_share"] == 1.0


def test_the_json_of_simulate_holds_what_is_promised(folder: Path) -> None:
    arguments = ("--data", folder / "digits.test.npz", "--limit", 8)
    found = run_json("simulate", folder / "digits.lbc", *arguments)
    assert {"samples", "metrics", "engine", "throughput", "sparsity"} <= set(found)
    assert {"mac_share", "param_share", "launches"} <= set(found["device"])
    costs = {"cycles_per_frame", "energy_per_frame_j", "frames_per_second"}
    assert costs <= set(found["cost"])
    rows = {"name", "sources", "events", "synaptic_ops", "cycles", "bits"}
    assert all(rows <= set(layer) for layer in found["layers"])


def test_engines_give_the_same_bits_and_the_same_events(folder: Path) -> None:
    found: dict[str, Any] = {}
    for engine in ("fast", "reference"):
        kept = folder / f"{engine}.npz"
        arguments = ("--limit", 8, "--engine", engine, "--outputs", kept)
        data = ("--data", folder / "digits.test.npz")
        layers = run_json("simulate", folder / "digits.lbc", *data, *arguments)["layers"]
        with np.load(kept) as outputs:
            found[engine] = (outputs["logits"].tobytes(), layers)
    assert found["fast"] == found["reference"]


def test_outputs_go_to_the_very_path_that_was_asked_for(folder: Path) -> None:
    kept = folder / "outputs"
    data = ("--data", folder / "digits.test.npz")
    run_json("simulate", folder / "digits.lbc", *data, "--limit", 3, "--outputs", kept)
    with np.load(kept) as outputs:
        assert outputs["logits"].shape == (3, 10)


def test_data_without_labels_is_simulated_and_not_scored(folder: Path) -> None:
    data = ("--data", folder / "digits.calib.npz", "--limit", 4)
    assert run_json("simulate", folder / "digits.lbc", *data)["metrics"] == {}
    shown = run("simulate", folder / "digits.lbc", *data).stdout
    assert "not measured: the data has no labels" in shown


def test_a_damaged_program_is_bad_input(folder: Path, tmp_path: Path) -> None:
    data = bytearray((folder / "digits.lbc").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "damaged.lbc").write_bytes(data)
    result = run("simulate", tmp_path / "damaged.lbc", "--data", folder / "digits.test.npz")
    assert result.exit_code == 3


def test_missing_data_is_bad_input(folder: Path) -> None:
    assert run("simulate", folder / "digits.lbc", "--data", "none.npz").exit_code == 3


# --- the others ------------------------------------------------------------------------------


def test_check_finds_the_whole_demo_network_on_the_chip(folder: Path) -> None:
    result = run("check", folder / "digits.onnx", "--strict")
    assert result.exit_code == 0
    assert "100.0% of the multiply-accumulates" in result.stdout


def test_inspect_names_the_target_and_every_layer(folder: Path) -> None:
    shown = run("inspect", folder / "digits.lbc").stdout
    assert "lb1" in shown
    assert "conv2" in shown


def test_inspect_prints_the_manifest_and_the_digest_in_json(folder: Path) -> None:
    found = run_json("inspect", folder / "digits.lbc")
    made = run_json("compile", folder / "digits.onnx", "--bits", "8/4/4", "-o", folder / "y.lbc")
    assert found["sha256"] == made["sha256"]
    assert found["manifest"]["target"]["name"] == "lb1"


def test_dump_prints_a_graph_that_parses(folder: Path) -> None:
    text = run("dump", folder / "digits.onnx", "--after", "fold-batchnorm").stdout
    assert print_graph(parse_graph(text)).rstrip() == text.rstrip()
    assert "BatchNorm" not in {node.op for node in parse_graph(text).nodes}


def test_dump_after_an_unknown_pass_is_wrong_use(folder: Path) -> None:
    assert run("dump", folder / "digits.onnx", "--after", "none").exit_code == 2


def test_dump_prints_the_launches_of_a_program(folder: Path) -> None:
    (text,) = run_json("dump", folder / "digits.lbc")["graphs"]
    assert "QConv" in text


def test_targets_lists_the_default_chip() -> None:
    assert "lb1" in run("targets").stdout


def test_a_target_shows_its_rules_and_the_sources_of_its_figures() -> None:
    (chip,) = run_json("targets", "lb1")
    assert all(rule["text"] for rule in chip["rules"])
    assert all(figure["source"] for figure in chip["figures"].values())


def test_an_unknown_target_is_refused_with_those_there_are() -> None:
    result = run("targets", "lb9000")
    assert result.exit_code == 2
    assert "lb1" in result.stderr


def test_demo_shows_both_accuracies() -> None:
    result = run("demo")
    assert result.exit_code == 0, result.output
    assert "float network" in result.stdout


def test_demo_keeps_its_files_where_it_is_told(tmp_path: Path) -> None:
    run_json("demo", "--keep", tmp_path / "kept")
    names = {path.name for path in (tmp_path / "kept").iterdir()}
    assert {"digits.onnx", "digits.lbc", "digits.test.npz"} <= names
