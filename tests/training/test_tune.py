"""Tuning a network: it learns, it is repeatable, and it says what it cannot use."""

from __future__ import annotations

import dataclasses
import json
from importlib import resources
from typing import TYPE_CHECKING

import numpy as np
import pytest
from click.testing import CliRunner

import lowbitc
from lowbitc.cli.main import lowbitc as command
from lowbitc.compiler.diagnostics import CompileError

if TYPE_CHECKING:
    from pathlib import Path

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'lowbitc[train]'")

SHORT = lowbitc.Training(epochs=2, batch=32)
DENSE = {"QConv", "QDense"}


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with the demo's model, labelled data to train on, and other data to test."""
    folder = tmp_path_factory.mktemp("digits")
    for part in resources.files("lowbitc").joinpath("demo").iterdir():
        (folder / part.name).write_bytes(part.read_bytes())
    with np.load(folder / "digits.test.npz") as held:
        np.savez(folder / "train.npz", x=held["x"][:300], y=held["y"][:300])
        np.savez(folder / "test.npz", x=held["x"][300:], y=held["y"][300:])
    return folder


def test_training_from_float_weights_lowers_its_loss_and_classifies(digits: Path) -> None:
    training = dataclasses.replace(SHORT, weights="sawb", epochs=6)
    tuned = lowbitc.tune(
        digits / "digits.onnx", digits / "train.npz", bits="2/2/2", training=training, threads=1
    )
    losses = [epoch.loss for epoch in tuned.epochs]
    assert len(losses) == 6
    assert losses[-1] < losses[0] / 2
    found = lowbitc.simulate(tuned.compilation.program, digits / "test.npz")
    assert found.metrics["top1"] > 0.9


@pytest.mark.parametrize("norm", ["batch", "none"])
def test_what_was_trained_with_and_without_norms_is_the_programs(digits: Path, norm: str) -> None:
    tuned = lowbitc.tune(
        digits / "digits.onnx",
        digits / "train.npz",
        bits="2/2/2",
        training=dataclasses.replace(SHORT, norm=norm),
        threads=1,
        test=digits / "test.npz",
    )
    assert tuned.agreement is not None
    assert tuned.agreement.differing == 0
    assert tuned.agreement.accuracy == tuned.agreement.simulated
    assert f"norm {norm}" in str(tuned.compilation.program.manifest["options"])


@pytest.mark.parametrize("arithmetic", ["float", "fp8", "fp4", "luq"])
def test_an_interrupted_run_goes_on_to_the_same_bytes(
    digits: Path, tmp_path: Path, arithmetic: str
) -> None:
    model, data = digits / "digits.onnx", digits / "train.npz"
    short = dataclasses.replace(SHORT, arithmetic=arithmetic)
    whole = lowbitc.tune(model, data, bits="2/2/2", training=short, threads=1)
    stopped = dataclasses.replace(short, checkpoint=tmp_path / "run.pt")

    class StopError(Exception):
        """Ends a run in its second epoch."""

    def report(step: str, done: int, total: int) -> None:
        if step == "train" and done > total // 2 + 1:
            raise StopError

    with pytest.raises(StopError):
        lowbitc.tune(model, data, bits="2/2/2", training=stopped, threads=1, report=report)
    resumed = lowbitc.tune(model, data, bits="2/2/2", training=stopped, threads=1)
    assert resumed.compilation.program.digest == whole.compilation.program.digest
    assert resumed.epochs == whole.epochs
    assert [path.name for path in tmp_path.iterdir()] == ["run.pt"]


@pytest.mark.parametrize("content", [b"no checkpoint", b""])
def test_a_file_that_is_no_checkpoint_is_refused(
    digits: Path, tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "run.pt"
    path.write_bytes(content)
    training = dataclasses.replace(SHORT, checkpoint=path)
    with pytest.raises(CompileError) as caught:
        lowbitc.tune(digits / "digits.onnx", digits / "train.npz", training=training)
    assert [d.code for d in caught.value.diagnostics] == ["LB792"]
    assert path.read_bytes() == content


def test_a_checkpoint_of_another_run_is_refused(digits: Path, tmp_path: Path) -> None:
    training = dataclasses.replace(SHORT, epochs=1, checkpoint=tmp_path / "run.pt")
    arguments = (digits / "digits.onnx", digits / "train.npz")
    lowbitc.tune(*arguments, bits="8/4/4", training=training)
    other = dataclasses.replace(training, seed=1)
    with pytest.raises(CompileError) as caught:
        lowbitc.tune(*arguments, bits="8/4/4", training=other)
    assert [d.code for d in caught.value.diagnostics] == ["LB792"]


def test_labels_beyond_the_scores_are_refused(digits: Path) -> None:
    with np.load(digits / "train.npz") as held:
        data = {"x": held["x"], "y": held["y"] + 5}
    with pytest.raises(CompileError) as caught:
        lowbitc.tune(digits / "digits.onnx", data, training=SHORT)
    (finding,) = caught.value.diagnostics
    assert finding.code == "LB791"
    assert "10 values a sample, and labels go up to 14" in finding.found
    assert "--toward float" in finding.hint


def test_an_unknown_setting_is_refused_with_those_that_are_known(digits: Path) -> None:
    training = lowbitc.Training(weights="sgd")
    with pytest.raises(CompileError) as caught:
        lowbitc.tune(digits / "digits.onnx", digits / "train.npz", training=training)
    (finding,) = caught.value.diagnostics
    assert (finding.code, finding.found) == ("LB731", "sgd")
    assert "sawb" in finding.allowed


def test_the_command_writes_a_program_and_says_what_each_epoch_gave(digits: Path) -> None:
    out = digits / "tuned.lbc"
    options = ["--bits", "8/4/4", "--epochs", "1", "-o", str(out), "--format", "json"]
    data = str(digits / "train.npz")
    result = CliRunner().invoke(
        command, ["tune", str(digits / "digits.onnx"), "--data", data, *options]
    )
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["sha256"] == lowbitc.load(out).digest
    assert [epoch["epoch"] for epoch in found["epochs"]] == [0]


@pytest.mark.parametrize("weights", ["lsq", "sawb"])
def test_layers_keep_the_bits_that_a_configuration_gives_them(
    digits: Path, tmp_path: Path, weights: str
) -> None:
    config = tmp_path / "lowbitc.toml"
    config.write_text('bits = "4/2/2"\n[[layer]]\nmatch = "gemm1"\nweights = 8\n')
    training = lowbitc.Training(epochs=1, batch=64, weights=weights)
    tuned = lowbitc.tune(
        digits / "digits.onnx",
        digits / "train.npz",
        config=config,
        training=training,
        test=digits / "test.npz",
        threads=1,
    )
    (launch,) = tuned.compilation.program.launches
    held = [launch.graph.tensor(n.inputs[1]).levels for n in launch.graph.nodes if n.op in DENSE]
    assert [levels.bits for levels in held if levels is not None] == [4, 2, 8]
    assert tuned.agreement is not None
    assert tuned.agreement.differing == 0
