"""Training on two processes: as one does, the same each time, and failing as one."""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import subprocess
import sys
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import lowbitc
from lowbitc.compiler.diagnostics import CompileError

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'lowbitc[train]'")

from lowbitc.training.distributed import choose_device  # noqa: E402 - after the check for torch
from tests.training.two_processes import COMPRESSED, SHORT, STILL, gradients_of  # noqa: E402

SCRIPT = Path(__file__).with_name("two_processes.py")
ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


class Together(NamedTuple):
    """What two processes gave, by rank, and the folder they worked in."""

    folder: Path
    results: list[dict[str, Any]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with the demo's model, data to train on, and other data to test."""
    made = tmp_path_factory.mktemp("together")
    for part in resources.files("lowbitc").joinpath("demo").iterdir():
        (made / part.name).write_bytes(part.read_bytes())
    with np.load(made / "digits.test.npz") as held:
        np.savez(made / "train.npz", x=held["x"][:200], y=held["y"][:200])
        np.savez(made / "seventy.npz", x=held["x"][:70], y=held["y"][:70])
        np.savez(made / "test.npz", x=held["x"][200:], y=held["y"][200:])
    return made


@pytest.fixture(scope="module")
def together(folder: Path) -> Together:
    """Let torchrun run all that is tested, once."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*launcher, str(SCRIPT), str(folder)],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    results = [json.loads((folder / f"results{r}.json").read_text("utf-8")) for r in range(2)]
    return Together(folder, results)


def test_gradients_of_two_processes_are_those_of_one(together: Together) -> None:
    data, model = together.folder / "seventy.npz", together.folder / "digits.onnx"
    wanted = gradients_of(
        lambda: lowbitc.tune(model, data, bits="4/2/2", training=STILL, threads=1)
    )
    with np.load(together.folder / "gradients.npz") as held:
        found = dict(held)
    assert found.keys() == wanted.keys()
    assert {name.split()[0] for name in found} == {"0", "1", "2", "3", "loss"}
    for name, value in wanted.items():
        most = float(np.abs(value).max())
        assert np.allclose(found[name], value, rtol=2e-3, atol=1e-3 * most + 1e-6), name


def test_two_processes_give_the_same_bytes_each_time_and_a_good_network(
    together: Together,
) -> None:
    first, second = (result["plain"] for result in together.results)
    assert first == second
    assert first[0] == first[1]
    saved = together.folder / "plain0.lbc"
    assert saved.read_bytes() == (together.folder / "plain1.lbc").read_bytes()
    found = lowbitc.simulate(saved, together.folder / "test.npz")
    assert found.metrics["top1"] > 0.9


def test_a_compressed_run_that_was_interrupted_goes_on_to_the_same_bytes(
    together: Together,
) -> None:
    for result in together.results:
        assert result["resumed"] == result["whole"] == together.results[0]["whole"]
        assert result["resumed records"] == result["records"]
        assert result["whole"] not in result["plain"]


def test_epochs_say_how_much_less_was_sent(together: Together) -> None:
    for record in together.results[0]["records"]:
        sent = record["compression"]
        assert sent.keys() == {"convolutions", "dense", "all"}
        # At most one code of 7 bits for each of 20, or of 9 bits for each of 100.
        assert 2 < sent["convolutions"] < 20 * 32 / 7
        assert 5 < sent["dense"] < 100 * 32 / 9
        assert 1 < sent["all"] < max(sent["convolutions"], sent["dense"])


def test_another_number_of_processes_cannot_go_on(together: Together) -> None:
    training = dataclasses.replace(SHORT, checkpoint=together.folder / "plain.pt")
    with pytest.raises(CompileError) as caught:
        lowbitc.tune(
            together.folder / "digits.onnx",
            together.folder / "train.npz",
            bits="4/2/2",
            training=training,
            threads=1,
        )
    (finding,) = caught.value.diagnostics
    assert finding.code == "LB795"
    assert finding.found == "2 wrote it, and 1 would go on"
    assert "with torchrun on 2 processes" in finding.hint


FEEDS = """
import os, signal
import numpy as np

def data():
    rank = os.environ["RANK"]
    if rank == "1" and os.environ["HOW"] == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if rank == "1" and os.environ["HOW"] == "raise":
        raise ValueError("no data here")
    with np.load("train.npz") as held:
        yield {"x": held["x"], "y": held["y"]}
"""


def run_pair(folder: Path, how: str, *options: str) -> list[tuple[int, str]]:
    """Run the command in two processes; return exit codes and what they said."""
    (folder / "feeds.py").write_text(FEEDS, encoding="utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2", "HOW": how}
    command = [sys.executable, "-m", "lowbitc", "tune", "digits.onnx", "--data", "feeds:data"]
    started = [
        subprocess.Popen(
            [*command, "--calib", "train.npz", "--epochs", "1", *options],
            env={**ENVIRONMENT, **place, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=folder,
        )
        for rank in range(2)
    ]
    said = [process.communicate(timeout=600)[0] for process in started]
    return [(p.returncode, text) for p, text in zip(started, said, strict=True)]


def test_an_error_of_one_process_is_said_once_and_ends_both(folder: Path) -> None:
    (lead_code, lead_said), (code, said) = run_pair(folder, "raise")
    assert (lead_code, code) == (3, 3)
    assert "LB732" in said
    assert "no data here" in said
    assert lead_said == ""
    assert "Traceback" not in said


def test_a_process_that_is_gone_is_a_finding_of_the_other(folder: Path) -> None:
    (lead_code, lead_said), (code, _) = run_pair(folder, "kill")
    assert (lead_code, code) == (3, -9)
    assert "error[LB796]" in lead_said
    assert "Traceback" not in lead_said


def test_a_process_alone_has_nobody_to_compress_for(folder: Path) -> None:
    with pytest.raises(CompileError) as caught:
        lowbitc.tune(folder / "digits.onnx", folder / "train.npz", training=COMPRESSED)
    (finding,) = caught.value.diagnostics
    assert finding.code == "LB731"
    assert "torchrun" in finding.hint


def test_cuda_that_is_not_there_is_refused_and_auto_does_without() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is CUDA")
    assert choose_device("auto", 2) == "cpu"
    with pytest.raises(CompileError) as caught:
        choose_device("cuda", 2)
    (finding,) = caught.value.diagnostics
    assert finding.code == "LB797"
    assert "--device cpu" in finding.hint
