"""Training and the program agree, and where they do not it is counted and said."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from click.testing import CliRunner

from lowbitc.cli.main import lowbitc as command

if TYPE_CHECKING:
    from lowbitc.training.network import QuantizedNetwork

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'lowbitc[train]'")

from lowbitc.compilation import (  # noqa: E402 - after the check for torch
    Compilation,
    Retraining,
    compile_with,
)
from lowbitc.compiler.datasets.opening import open_dataset  # noqa: E402
from lowbitc.compiler.datasets.stream import InputSpec  # noqa: E402
from lowbitc.options import settle  # noqa: E402
from lowbitc.training.agreement import Agreement, compare_levels, disagreement  # noqa: E402
from lowbitc.training.examples import Examples  # noqa: E402
from lowbitc.training.loop import Schedule  # noqa: E402
from lowbitc.training.train_weights import TrainWeights  # noqa: E402

DEMO = Path(str(resources.files("lowbitc").joinpath("demo")))
DATA = DEMO / "digits.test.npz"


def tuned() -> tuple[QuantizedNetwork, Compilation]:
    """Return a network of the demo after a short training, and its program."""
    options = settle(DEMO / "digits.onnx", calib=DEMO / "digits.calib.npz", bits="8/2/2", threads=1)
    with np.load(DEMO / "digits.calib.npz") as held:
        examples = Examples({"x": held["x"][:64]}, None)
    learn = TrainWeights(examples, options.bits, schedule=Schedule(epochs=1, batch=32), threads=1)
    training = Retraining(lambda _rounding: learn, "for a test")
    made = compile_with(DEMO / "digits.onnx", options, training=training)
    assert learn.outcome.network is not None
    return learn.outcome.network, made


def compared(network: QuantizedNetwork, made: Compilation) -> Agreement:
    program = made.program
    specs = [InputSpec(p.name, p.shape or (), p.element) for p in program.inputs]
    dataset = open_dataset(DATA, specs, None)
    return compare_levels(network, program, dataset, 100, advance=lambda _done, _all: None)


def test_all_levels_and_classes_are_the_programs_and_a_bias_that_moves_is_found() -> None:
    network, made = tuned()
    found = compared(network, made)
    assert found.samples == 100
    assert (found.differing, found.differing_levels) == (0, 0)
    assert found.levels > 100 * 1000
    assert found.accuracy == found.simulated
    assert disagreement(found) == ()

    first, *_ = network.weighted_layers()
    with torch.no_grad():
        first.bias_steps += 0.5
    moved = compared(network, made)
    assert moved.layers[0].differing > 0
    assert moved.layers[0].largest >= 1
    assert moved.simulated == found.simulated
    (warning,) = disagreement(moved)
    assert warning.code == "LB788"
    assert f"{moved.differing_levels:,} of {moved.levels:,} levels" in warning.found


def test_the_command_shows_both_accuracies_keeps_a_log_and_draws_curves(tmp_path: Path) -> None:
    log, page = tmp_path / "run.jsonl", tmp_path / "page.html"
    arguments = ["tune", str(DEMO / "digits.onnx"), "--data", str(DEMO / "digits.calib.npz")]
    arguments += ["--bits", "8/2/2", "--reconstruct", "--shift", "1", "--epochs", "1"]
    arguments += ["--test", str(DATA), "--limit", "64", "--log", str(log), "--report", str(page)]
    arguments += ["-o", str(tmp_path / "out.lbc"), "--threads", "1", "--format", "json"]
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["agreement"]["samples"] == 64
    assert found["agreement"]["differing"] == 0
    assert found["agreement"]["accuracy"] == found["agreement"]["simulated"]
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    assert entries == found["epochs"]
    assert {entry["part"] for entry in entries} > {"network"}
    assert "Loss: " in page.read_text(encoding="utf-8")
