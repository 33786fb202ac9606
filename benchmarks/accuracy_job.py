"""One job of accuracy.py: compile one network one way, run it, and print what was found as JSON."""

from __future__ import annotations

import dataclasses
import functools
import json
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from agreement import class_figures
from network_list import NETWORKS

from lowbitc.compilation import Retraining, compile_with
from lowbitc.options import settle
from lowbitc.passes.recipes import LADDER
from lowbitc.passes.round_weights import RoundWeights
from lowbitc.targets.engines.simulator import Simulator
from lowbitc.targets.program.load import load_program

if TYPE_CHECKING:
    from agreement import Array

    from lowbitc.compiler.manager import Pass
    from lowbitc.passes.recipes import Recipe

Job = dict[str, Any]


def peak_mib() -> float:
    """Return the most memory that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def with_recipe(recipe: Recipe, rounds: Pass | None) -> Pass:
    """Return the pass that rounds weights with another recipe."""
    if not isinstance(rounds, RoundWeights):
        message = "the recipe's steps are for fewer than 8 bits"
        raise TypeError(message)
    return dataclasses.replace(rounds, recipe=recipe)


def compiled(job: Job, calib: dict[str, Array], folder: Path) -> Path:
    """Compile as ``lowbitc compile`` does and write the program."""
    method = job["method"]
    step = None
    if method.startswith("step-"):
        recipe = LADDER[int(method.removeprefix("step-"))][1]
        step = Retraining(functools.partial(with_recipe, recipe), method)
    weights = {"nearest": "mse", "sawb": "sawb"}.get(method)
    options = settle(
        None,
        calib=None if method == "data-free" else calib,
        bits=job["bits"],
        weights=weights,
        limit=job["calib"],
        threads=job["threads"],
    )
    path = folder / "program.lbc"
    compile_with(Path(job["model"]), options, training=step).program.save(path)
    return path


def run_onnxruntime(job: Job, calib: dict[str, Array], folder: Path) -> tuple[Any, float, float]:
    """Quantize with ONNX Runtime; return the session, seconds and peak memory."""
    import onnxruntime as ort  # noqa: PLC0415 - for this method alone
    from onnxruntime import quantization as q  # noqa: PLC0415

    class Reader(q.CalibrationDataReader):
        def __init__(self) -> None:
            self.rows = iter([{k: v[i : i + 1] for k, v in calib.items()} for i in range(count)])

        def get_next(self) -> dict[str, Array] | None:
            return next(self.rows, None)

    count = len(next(iter(calib.values())))
    start = time.perf_counter()
    folded, made = folder / "folded.onnx", folder / "quantized.onnx"
    q.shape_inference.quant_pre_process(job["model"], folded, skip_symbolic_shape=True)
    q.quantize_static(
        folded,
        made,
        Reader(),
        per_channel=True,
        weight_type=q.QuantType.QInt4 if job["bits"].startswith("4") else q.QuantType.QInt8,
        activation_type=q.QuantType.QUInt8,
    )
    seconds, peak = time.perf_counter() - start, peak_mib()
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = job["threads"]
    return ort.InferenceSession(made, settings), seconds, peak


def main() -> int:
    """Do the job that the first argument spells in JSON."""
    job: Job = json.loads(sys.argv[1])
    network = next(held for held in NETWORKS if held.name == job["network"])
    data = Path(job["data"])
    calib = dict(network.make(job["calib"], 0, data).inputs)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if job["method"] == "onnxruntime":
            session, seconds, peak = run_onnxruntime(job, calib, folder)
            test = network.make(job["samples"] or sys.maxsize, 1, data)
            (value, images), *_ = test.inputs.items()
            parts = [session.run(None, {value: images[i : i + 1]})[0] for i in range(len(images))]
            scores = np.concatenate(parts)
        else:
            start = time.perf_counter()
            path = compiled(job, calib, folder)
            seconds, peak = time.perf_counter() - start, peak_mib()
            test = network.make(job["samples"] or sys.maxsize, 1, data)
            simulator = Simulator(load_program(path), "fast", threads=job["threads"])
            (scores,) = simulator.run(test.inputs).values()
    found = class_figures(np.load(job["scores"]), scores, test.labels)
    print(json.dumps({**found, "seconds": seconds, "peak_mib": peak}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
