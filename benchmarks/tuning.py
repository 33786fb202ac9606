"""Measure what tuning gives: post-training rounding and training for the same bits, in one run.

    python benchmarks/tuning.py --zoo ZOO --data DATA [--only TASK ...] [--bits B ...] [--epochs N]
        [--seeds 0 1 2] [--threads 1] [--results FILE] [--markdown FILE]

ZOO holds digit_cnn.onnx, legere_crnn_bn.onnx, and what float_networks.py makes: fashion_vgg.onnx
and cifar_resnet8.onnx. DATA holds NAME_train.npz (x and y), NAME_calib.npz (x) and NAME_test.npz (x
and y) with NAME fashion, mnist and cifar; text lines are rendered here. Programs run from their
bytes on the `fast` engine, all test samples. With --results, rows are kept as JSON lines, and what
is there is not measured again. Needs PyTorch.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import split_data
import torch

import lowbitc
from lowbitc.compiler.onnx_session import OnnxSession
from lowbitc.targets.engines.simulator import Simulator
from lowbitc.tuning import Training, tune

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy.typing as npt

    from lowbitc.targets.program.program import Program

    Array = npt.NDArray[Any]
    Row = dict[str, Any]
    Score = Callable[[Array], float]

_AT_ONCE = 500
_LINES_TRAINED, _LINES_TESTED = 2048, 1000


@dataclass(frozen=True)
class Task:
    """A network, its data, and how long to train it."""

    name: str
    model: str
    data: str
    training: Training
    images: int
    """How many examples to train on, from the start of the file; 0 is all."""
    bits: tuple[str, ...]
    methods: tuple[tuple[str, str], ...] = (("lsq", "pact+"),)
    """Where weights' scales and clips come from: the first is measured at all bits."""
    shapes: tuple[str, ...] = ()


TASKS = (
    Task(
        "fashion",
        "fashion_vgg.onnx",
        "fashion",
        Training(epochs=5, flip=True, shift=1),
        0,
        ("4/4/4", "2/2/2", "2/1/1"),
    ),
    Task(
        "mnist",
        "digit_cnn.onnx",
        "mnist",
        Training(epochs=3),
        20_000,
        ("2/2/2",),
    ),
    Task(
        "cifar",
        "cifar_resnet8.onnx",
        "cifar",
        Training(epochs=7),
        0,
        ("4/4/4", "2/2/2"),
        (("lsq", "pact+"), ("sawb", "pact"), ("sawb+", "pact+"), ("minmax", "pact")),
    ),
    Task(
        "lines",
        "legere_crnn_bn.onnx",
        "",
        Training(epochs=6, batch=32, learning_rate=0.005, toward="float"),
        0,
        ("8/2/2",),
        shapes=("x=N,1,32,256",),
    ),
)


def cases(task: Task) -> Iterator[tuple[str, str, str]]:
    """Yield bits, weights and clips: every method at 2/2/2, the first at all bits."""
    for bits in task.bits:
        for weights, clips in task.methods if bits == "2/2/2" else task.methods[:1]:
            yield bits, weights, clips


def read(task: Task, data: Path, folder: Path) -> tuple[Array, Score]:
    """Write train.npz, calib.npz and test.npz to a folder; return test inputs and their score."""
    if not task.data:
        lines = split_data.lines(_LINES_TESTED, data)
        np.savez(folder / "calib.npz", **lines.calib)
        np.savez(folder / "train.npz", x=split_data.signals.text_lines(_LINES_TRAINED, 256, 2)[0])
        np.savez(folder / "test.npz", x=lines.test["x"])
        return lines.test["x"], lines.score
    images = task.images or None
    with np.load(data / f"{task.data}_train.npz") as held:
        np.savez(folder / "train.npz", x=held["x"][:images], y=held["y"][:images])
    with np.load(data / f"{task.data}_calib.npz") as held:
        np.savez(folder / "calib.npz", x=held["x"])
    with np.load(data / f"{task.data}_test.npz") as held:
        x, y = held["x"], held["y"]
    np.savez(folder / "test.npz", x=x, y=y)
    return x, lambda outputs: float((outputs.reshape(len(y), -1).argmax(1) == y).mean())


@dataclass
class Held:
    """A task's files and test data, and where its rows go."""

    task: Task
    model: Path
    folder: Path
    x: Array
    score: Score
    entry: str
    arguments: argparse.Namespace

    def float_score(self) -> Row:
        """Return what the float model scores."""
        session = OnnxSession(self.model, threads=self.arguments.threads, fast=True)
        parts = [self.x[start : start + _AT_ONCE] for start in range(0, len(self.x), _AT_ONCE)]
        found = [next(iter(session.run({self.entry: part}).values())) for part in parts]
        return {"score": self.score(np.concatenate([np.asarray(part) for part in found]))}

    def rounded(self, bits: str) -> Row:
        """Return what post-training rounding scores, on the calibration samples alone."""
        program = lowbitc.compile(
            self.model,
            calib=self.folder / "calib.npz",
            bits=bits,
            shapes=self.task.shapes,
            threads=self.arguments.threads,
        )
        return {"score": self.simulated(program)}

    def tuned(self, bits: str, weights: str, clips: str, seed: int) -> Row:
        """Return what a tuned program scores, and the trained network that it was made of."""
        made = tune(
            self.model,
            self.folder / "train.npz",
            training=replace(self.task.training, weights=weights, clips=clips, seed=seed),
            calib=self.folder / "calib.npz",
            bits=bits,
            shapes=self.task.shapes,
            threads=self.arguments.threads,
            test=self.folder / "test.npz",
        )
        row: Row = {"score": self.simulated(made.compilation.program)}
        if made.agreement is not None:
            row["framework"] = made.agreement.accuracy
            row["classes differing"] = made.agreement.differing
            row["levels differing"] = made.agreement.differing_levels
        return row

    def simulated(self, program: Program) -> float:
        """Return what a program scores, from its bytes."""
        path = self.folder / "program.lbc"
        program.save(path)
        simulator = Simulator(lowbitc.load(path), "fast", threads=self.arguments.threads)
        return self.score(next(iter(simulator.run({self.entry: self.x}).values())))

    def put(self, row: Row, measure: Callable[[], Row]) -> None:
        """Measure a row, unless it is there already."""
        row = {"task": self.task.name, **row}
        if any(row.items() <= held.items() for held in self.arguments.rows):
            return
        start = time.perf_counter()
        row |= {**measure(), "seconds": time.perf_counter() - start}
        self.arguments.rows.append(row)
        print(json.dumps(row), flush=True)
        if self.arguments.results is not None:
            with self.arguments.results.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")


def measure(task: Task, arguments: argparse.Namespace) -> None:
    """Measure the float network, post-training rounding, and training from each seed."""
    model = arguments.zoo / task.model
    with tempfile.TemporaryDirectory() as name:
        x, score = read(task, arguments.data, Path(name))
        entry = onnx.load(model).graph.input[0].name
        held = Held(task, model, Path(name), x, score, entry, arguments)
        held.put({"method": "float", "bits": "32"}, held.float_score)
        for bits in task.bits:
            held.put({"method": "rounded", "bits": bits}, partial(held.rounded, bits))
        for bits, weights, clips in cases(task):
            for seed in arguments.seeds if weights == "lsq" else arguments.seeds[:1]:
                row = {"method": f"{weights}, {clips}", "bits": bits, "seed": seed}
                training = task.training
                row |= {"epochs": training.epochs, "images": task.images}
                row |= {"flip": training.flip, "shift": training.shift}
                held.put(row, partial(held.tuned, bits, weights, clips, seed))


def chosen(task: Task, arguments: argparse.Namespace) -> Task:
    """Return a task with the bits and epochs that are asked for."""
    bits = tuple(b for b in task.bits if not arguments.bits or b in arguments.bits)
    epochs = arguments.epochs or task.training.epochs
    return replace(task, bits=bits, training=replace(task.training, epochs=epochs))


def _key(row: Row) -> tuple[str, str, str]:
    if "epochs" not in row:
        return row["task"], row["bits"], row["method"]
    images = f"{row['images']:,} images" if row["images"] else "all images"
    varied = (", mirrored" if row["flip"] else "") + (", shifted" if row["shift"] else "")
    method = f"{row['method']}, {images}{varied}, {row['epochs']} epochs"
    return row["task"], row["bits"], method


def markdown(rows: list[Row]) -> str:
    """Return a table: a line for each task, bits and method, with all seeds."""
    lines = ["| network | bits | method | score (of the trained network), a seed each | seconds |"]
    lines.append("|---|---|---|---|---|")
    for key in dict.fromkeys(_key(r) for r in rows):
        found = [r for r in rows if _key(r) == key]
        scores = ", ".join(
            f"{r['score']:.2%}" + (f" ({r['framework']:.2%})" if r.get("framework") else "")
            for r in found
        )
        longest = max(r["seconds"] for r in found)
        lines.append(f"| {' | '.join(key)} | {scores} | {longest:.0f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure the tasks that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--zoo", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    names = [task.name for task in TASKS]
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="TASK")
    parser.add_argument("--bits", nargs="+", default=[])
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--results", type=Path)
    parser.add_argument("--markdown", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    arguments.rows = []
    if arguments.results is not None and arguments.results.exists():
        arguments.rows = [json.loads(line) for line in arguments.results.open(encoding="utf-8")]
    for task in TASKS:
        if task.name in arguments.only:
            measure(chosen(task, arguments), arguments)
    if arguments.markdown is not None:
        arguments.markdown.write_text(markdown(arguments.rows), encoding="utf-8")


if __name__ == "__main__":
    main()
