"""None of these passes a gate; docs/gate.md lists them, and this test reads the list."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import lowbitc
from lowbitc.compiler import replace_file
from tests.cli.gating import digits, run_gate, samples
from tests.cli.odd_networks import model_bytes, odd_network

Case = Callable[[Path], "tuple[int, str]"]
_ROOT = Path(__file__).parent.parent.parent
CASES: dict[str, Case] = {}


def _misuse(name: str) -> Callable[[Case], Case]:
    def keep(case: Case) -> Case:
        CASES[name] = case
        return case

    return keep


def _run(
    *options: str, program: Path | None = None, data: Path | str | None = None
) -> tuple[int, str]:
    result = run_gate(*options, program=program, data=data)
    return result.exit_code, result.stdout + result.stderr


def _npz(folder: Path, **arrays: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> Path:
    path = folder / "data.npz"
    np.savez(path, allow_pickle=False, **arrays)
    return path


def _drop(*more: str) -> tuple[str, ...]:
    return ("--reference", str(digits() / "digits.onnx"), "--max-drop", "0.02", *more)


def _module(folder: Path, text: str) -> None:
    (folder / "misused.py").write_text(text, encoding="utf-8")
    sys.modules.pop("misused", None)


# --- models ----------------------------------------------------------------------------------


@_misuse("a program that is damaged")
def _(folder: Path) -> tuple[int, str]:
    path = folder / "damaged.lbc"
    path.write_bytes((digits() / "digits.lbc").read_bytes()[:-7])
    return _run("--min", "0.5", program=path)


@_misuse("a program that is missing")
def _(folder: Path) -> tuple[int, str]:
    return _run("--min", "0.5", program=folder / "none.lbc")


@_misuse("an ONNX model that does not load")
def _(folder: Path) -> tuple[int, str]:
    path = folder / "bad.onnx"
    path.write_bytes(b"not a model")
    return _run("--min", "0.5", program=path)


@_misuse("a float model of another network")
def _(folder: Path) -> tuple[int, str]:
    path = odd_network(folder, "Identity")
    return _run("--reference", str(path), "--max-drop", "0.02")


@_misuse("a program given as its own float model")
def _(folder: Path) -> tuple[int, str]:
    del folder
    return _run("--reference", str(digits() / "digits.lbc"), "--max-drop", "0.02")


@_misuse("a network that puts out NaN")
def _(folder: Path) -> tuple[int, str]:
    return _odd_outputs(folder, "Sqrt")


@_misuse("a network that puts out infinities")
def _(folder: Path) -> tuple[int, str]:
    return _odd_outputs(folder, "Reciprocal")


def _odd_outputs(folder: Path, op: str) -> tuple[int, str]:
    """Gate a network whose last part, on the CPU, gives what is no number for some samples."""
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["s"]),
            helper.make_node(op, ["s"], ["scores"]),
        ],
        "odd",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor("w", TensorProto.FLOAT, [3, 3], np.eye(3, dtype=np.float32).ravel())],
    )
    path = folder / "odd.onnx"
    path.write_bytes(model_bytes(graph))
    x = np.array([[1.0, 0.5, 0.2], [0.1, 0.9, 0.3], [0.0, -0.7, 0.9]], np.float32)
    np.savez(folder / "calib.npz", x=x)
    data = _npz(folder, x=x, y=np.arange(3))
    return _run("--min", "0.1", "--calib", str(folder / "calib.npz"), program=path, data=data)


@_misuse("a network that says the same to everything")
def _(folder: Path) -> tuple[int, str]:
    model = onnx.ModelProto.FromString((digits() / "digits.onnx").read_bytes())
    for held in model.graph.initializer:
        array = onnx.numpy_helper.to_array(held)
        if array.ndim == 2:
            held.CopyFrom(onnx.numpy_helper.from_array(np.zeros_like(array), held.name))
    path = folder / "constant.onnx"
    path.write_bytes(model.SerializeToString())
    images, labels = samples()
    return _run("--max-drop", "0.02", program=path, data=_npz(folder, x=images, y=labels))


# --- data ------------------------------------------------------------------------------------


@_misuse("data that is missing")
def _(folder: Path) -> tuple[int, str]:
    return _run("--min", "0.5", data=folder / "none.npz")


@_misuse("empty data")
def _(folder: Path) -> tuple[int, str]:
    images, labels = samples()
    return _run("--min", "0.5", data=_npz(folder, x=images[:0], y=labels[:0]))


@_misuse("data without labels")
def _(folder: Path) -> tuple[int, str]:
    return _run("--min", "0.5", data=_npz(folder, x=samples()[0]))


@_misuse("labels shifted by one, against a floor")
def _(folder: Path) -> tuple[int, str]:
    images, labels = samples()
    return _run("--min", "0.5", data=_npz(folder, x=images, y=(labels + 1) % 10))


@_misuse("labels shifted by one, against a drop")
def _(folder: Path) -> tuple[int, str]:
    images, labels = samples()
    return _run(*_drop(), data=_npz(folder, x=images, y=(labels + 1) % 10))


@_misuse("labels from 1 instead of 0")
def _(folder: Path) -> tuple[int, str]:
    images, labels = samples()
    return _run("--min", "0.5", data=_npz(folder, x=images, y=labels + 1))


@_misuse("labels in another order than samples")
def _(folder: Path) -> tuple[int, str]:
    images, labels = samples()
    shuffled = np.random.default_rng(0).permutation(labels)
    return _run(*_drop(), data=_npz(folder, x=images, y=shuffled))


@_misuse("fewer labels than samples")
def _(folder: Path) -> tuple[int, str]:
    images, labels = samples()
    return _run("--min", "0.5", data=_npz(folder, x=images, y=labels[:-1]))


@_misuse("samples of one class alone")
def _(folder: Path) -> tuple[int, str]:
    images, labels = samples()
    ones = labels == 1
    return _run("--min", "0.5", data=_npz(folder, x=images[ones], y=labels[ones]))


@_misuse("NaN in the data")
def _(folder: Path) -> tuple[int, str]:
    images, labels = samples()
    images[7, 0, 0] = np.nan
    return _run("--min", "0.5", data=_npz(folder, x=images, y=labels))


@_misuse("images in another layout")
def _(folder: Path) -> tuple[int, str]:
    images, labels = samples()
    return _run("--min", "0.5", data=_npz(folder, x=images.transpose(0, 2, 3, 1), y=labels))


@_misuse("bytes where shares were calibrated")
def _(folder: Path) -> tuple[int, str]:
    images, labels = samples()
    return _run(*_drop(), data=_npz(folder, x=images * 255, y=labels))


@_misuse("shares of shares: scaled twice")
def _(folder: Path) -> tuple[int, str]:
    images, labels = samples()
    return _run(*_drop(), data=_npz(folder, x=images / 255, y=labels))


@_misuse("the same samples again and again")
def _(folder: Path) -> tuple[int, str]:
    images, labels = samples()
    data = _npz(folder, x=np.repeat(images[:40], 50, axis=0), y=np.repeat(labels[:40], 50))
    return _run("--min", "0.97", "--confidence", "0.95", data=data)


@_misuse("a data file that ends too early")
def _(folder: Path) -> tuple[int, str]:
    path = folder / "cut.npz"
    path.write_bytes((digits() / "digits.test.npz").read_bytes()[:-900])
    return _run("--min", "0.5", data=path)


@_misuse("a data file with a flipped bit")
def _(folder: Path) -> tuple[int, str]:
    images, labels = samples()
    path = _npz(folder, x=images, y=labels)
    held = bytearray(path.read_bytes())
    held[5000] ^= 1
    path.write_bytes(bytes(held))
    return _run("--min", "0.5", data=path)


@_misuse("a data function that raises")
def _(folder: Path) -> tuple[int, str]:
    _module(folder, "def data():\n    raise KeyError('x')\n    yield\n")
    return _run("--min", "0.5", data="misused:data")


@_misuse("a data function that has fewer samples the second time")
def _(folder: Path) -> tuple[int, str]:
    _module(
        folder,
        "import numpy as np\nfrom tests.cli.gating import samples\n_LEFT = [445, 5]\n"
        "def data():\n    x, y = samples()\n    n = _LEFT.pop(0) if _LEFT else 5\n"
        "    yield {'x': x[:n], 'y': y[:n]}\n",
    )
    return _run("--min", "0.5", data="misused:data")


# --- bounds ----------------------------------------------------------------------------------


@_misuse("no bound")
def _(folder: Path) -> tuple[int, str]:
    del folder
    return _run()


@_misuse("NaN as a bound")
def _(folder: Path) -> tuple[int, str]:
    del folder
    return _run("--min", "nan")


@_misuse("a floor in percent")
def _(folder: Path) -> tuple[int, str]:
    del folder
    return _run("--min", "97")


@_misuse("a floor of 0, a negative one, a drop of 1: bounds that nothing breaks")
def _(folder: Path) -> tuple[int, str]:
    del folder
    found = [_run("--min", "0"), _run("--min=-0.5"), _run(*_drop()[:-1], "1")]
    assert all("decides nothing" in text for _, text in found)
    return max(found)


@_misuse("a floor for an error, which would keep bad programs")
def _(folder: Path) -> tuple[int, str]:
    del folder
    return _run("--metric", "mse", "--min", "1", *_drop()[:2])


@_misuse("a drop without a float model")
def _(folder: Path) -> tuple[int, str]:
    del folder
    return _run("--max-drop", "0.02")


@_misuse("a metric that does not exist")
def _(folder: Path) -> tuple[int, str]:
    del folder
    return _run("--metric", "top3", "--min", "0.5")


@_misuse("a metric that is measured and has no bound")
def _(folder: Path) -> tuple[int, str]:
    del folder
    return _run("--metric", "top1", "--metric", "f1-macro", "--min", "top1=0.97")


@_misuse("a metric of the user's that gives NaN")
def _(folder: Path) -> tuple[int, str]:
    _module(folder, "def nan(outputs, labels):\n    return [float('nan')] * len(labels)\n")
    return _run("--metric", "misused:nan", "--min", "0.5")


@_misuse("too few samples for the confidence that is asked for")
def _(folder: Path) -> tuple[int, str]:
    del folder
    return _run("--min", "0.97", "--confidence", "0.95", "--limit", "20")


@_misuse("a budget of a network that runs on the CPU")
def _(folder: Path) -> tuple[int, str]:
    path = odd_network(folder, "Sin")
    model = onnx.ModelProto.FromString(path.read_bytes())
    del model.graph.node[1]
    model.graph.node[1].input[0] = "h"
    path.write_bytes(model.SerializeToString())
    x = np.random.default_rng(0).normal(0, 1, (64, 3)).astype(np.float32)
    data = _npz(folder, x=x, y=x.argmax(axis=1))
    return _run("--max-energy", "1", program=path, data=data)


# --- baselines -------------------------------------------------------------------------------


def _baseline(folder: Path) -> Path:
    path = folder / "gate.json"
    assert run_gate("--write-baseline", str(path)).exit_code == 0
    return path


@_misuse("a baseline from other data")
def _(folder: Path) -> tuple[int, str]:
    images, labels = samples()
    data = _npz(folder, x=images[1:], y=labels[1:])
    return _run("--baseline", str(_baseline(folder)), data=data)


@_misuse("a baseline from all samples, and the gate on the first of them")
def _(folder: Path) -> tuple[int, str]:
    return _run("--baseline", str(_baseline(folder)), "--limit", "100")


@_misuse("a baseline with changed labels")
def _(folder: Path) -> tuple[int, str]:
    images, labels = samples()
    labels[:1] = (labels[:1] + 1) % 10
    return _run("--baseline", str(_baseline(folder)), data=_npz(folder, x=images, y=labels))


@_misuse("a baseline of another metric")
def _(folder: Path) -> tuple[int, str]:
    options = ("--metric", "f1-macro", "--min", "0.5")
    return _run("--baseline", str(_baseline(folder)), *options)


@_misuse("a baseline that is damaged, empty, or holds NaN")
def _(folder: Path) -> tuple[int, str]:
    path = _baseline(folder)
    text = path.read_text(encoding="utf-8")
    found: list[tuple[int, str]] = []
    for broken in (text[:40], "{}", text.replace('"value": 0', '"value": NaN, "was": 0'), "[]"):
        path.write_text(broken, encoding="utf-8")
        found.append(_run("--baseline", str(path)))
    assert all("LB750" in shown for _, shown in found)
    return found[0]


@_misuse("a baseline that is missing")
def _(folder: Path) -> tuple[int, str]:
    return _run("--baseline", str(folder / "none.json"))


# --- results ---------------------------------------------------------------------------------


@_misuse("a result that cannot be written, because its folder is missing")
def _(folder: Path) -> tuple[int, str]:
    return _run("--min", "0.5", "--output", str(folder / "none" / "result.json"))


@_misuse("a result in a form that nobody reads")
def _(folder: Path) -> tuple[int, str]:
    return _run("--min", "0.5", "--output", str(folder / "result.pdf"))


@pytest.mark.parametrize("name", CASES)
def test_it_does_not_pass(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, text = CASES[name](tmp_path)
    page = (_ROOT / "docs" / "gate.md").read_text(encoding="utf-8")
    row = re.search(rf"^\| {re.escape(name)} \| (\d+) \| (\S+) \|$", page, re.MULTILINE)
    assert row is not None, f"docs/gate.md has no row: | {name} | {code} | ... |"
    assert code == int(row[1]), text
    assert "gate passed" not in text
    assert "internal error" not in text
    if row[2] != "-":
        assert row[2] in text


# --- runs that end before their time ---------------------------------------------------------


def _passing(path: Path) -> None:
    assert run_gate("--min", "0.5", "--output", str(path)).exit_code == 0
    assert json.loads(path.read_text(encoding="utf-8"))["passed"] is True


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_run_that_is_killed_leaves_no_passing_result(tmp_path: Path, number: int) -> None:
    path = tmp_path / "result.json"
    _passing(path)
    (tmp_path / "slow.py").write_text(
        "import pathlib, time\n"
        "def data():\n    pathlib.Path('begun').touch()\n    time.sleep(60)\n    yield {}\n",
        encoding="utf-8",
    )
    program = str(digits() / "digits.lbc")
    arguments = ["gate", program, "--data", "slow:data", "--min", "0.5", "--output", str(path)]
    run = subprocess.Popen([sys.executable, "-m", "lowbitc", *arguments], cwd=tmp_path)
    for _ in range(600):
        if (tmp_path / "begun").exists():
            break
        time.sleep(0.05)
    run.send_signal(number)
    assert run.wait(30) != 0
    held = json.loads(path.read_text(encoding="utf-8"))
    assert held["passed"] is False
    assert held["outcome"] == "unmeasured"
    assert held["diagnostics"][0]["code"] == "LB754"


def test_a_disk_that_is_full_leaves_no_passing_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [tmp_path / name for name in ("a.json", "b.json")]
    _passing(paths[0])
    writes: list[str] = []
    real = replace_file.replace_file

    def full_at_the_end(path: Path, parts: list[bytes]) -> None:
        writes.append(str(path))
        if len(writes) > 3:
            raise OSError(28, "No space left on device")
        real(path, parts)

    monkeypatch.setattr("lowbitc.cli.verdicts.files.replace_file", full_at_the_end)
    outputs = [part for path in paths for part in ("--output", str(path))]
    result = run_gate("--min", "0.5", *outputs)
    assert result.exit_code == 4
    assert "LB753" in result.stderr
    assert "No space left on device" in result.stderr
    assert "COULD NOT MEASURE" in result.stdout
    for path in paths:
        assert not path.exists() or not json.loads(path.read_text(encoding="utf-8"))["passed"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_verdict_that_cannot_be_shown_is_no_pass() -> None:
    program, data = str(digits() / "digits.lbc"), str(digits() / "digits.test.npz")
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        arguments = ["gate", program, "--data", data, "--min", "0.5"]
        run = subprocess.run(
            [sys.executable, "-m", "lowbitc", *arguments],
            stdout=full,
            stderr=subprocess.DEVNULL,
            check=False,
        )
    assert run.returncode != 0


def test_a_gate_in_python_raises_where_it_could_not_measure() -> None:
    with pytest.raises(lowbitc.CompileError, match="LB735"):
        lowbitc.gate(digits() / "digits.lbc", {"x": samples()[0]}, minimum=0.5)
