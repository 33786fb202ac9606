"""AdaComp on two processes: python benchmarks/adacomp.py --zoo ZOO --data DATA.

Each network is trained uncompressed and with AdaComp by `lowbitc tune` under torchrun, and each
program's accuracy is measured on the simulated chip. "tuned" starts from the float network;
"random" from random weights, with batch norms that do nothing, as the paper trains.

ZOO holds NETWORK.onnx and DATA its labelled arrays x and y, as benchmarks/float_networks.py makes
them.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx import numpy_helper

import lowbitc

DATA = {
    "digit_cnn": ("mnist_train20k", "mnist_test"),
    "fashion_vgg": ("fashion_train", "fashion_test"),
}
STARTS = {"tuned": "0.005", "random": "0.05"}
"""Adam's rate for each start, in levels."""


class Run(NamedTuple):
    """One training run: accuracy on the chip, and an epoch's ratios, the last first."""

    accuracy: float
    epochs: list[dict[str, Any]]


def randomized(path: Path, work: Path) -> Path:
    """Write the model with random weights (He et al. 2015), and batch norms that do nothing."""
    model, random = onnx.load(path), np.random.default_rng(0)
    norms = {
        name: float(place in {0, 3})
        for node in model.graph.node
        if node.op_type == "BatchNormalization"
        for place, name in enumerate(node.input[1:])
    }
    for held in model.graph.initializer:
        array = numpy_helper.to_array(held)
        if held.name in norms:
            made = np.full(array.shape, norms[held.name], np.float32)
        elif array.ndim > 1:
            made = random.normal(0, np.sqrt(2 / array[0].size), array.shape).astype(np.float32)
        else:
            made = np.zeros_like(array)
        held.CopyFrom(numpy_helper.from_array(made, held.name))
    made_path = work / f"{path.stem}_random.onnx"
    onnx.save(model, made_path)
    return made_path


def train(model: Path, data: Path, test: Path, compress: str, options: list[str]) -> Run:
    """Train on two processes, and measure on the simulated chip."""
    program = model.with_name(f"{data.stem}_{compress}.lbc")
    launch = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "lowbitc", "tune"]
    command = [sys.executable, *launch, str(model), "--data", str(data), "-o", str(program)]
    done = subprocess.run(  # noqa: S603 - our own command
        [*command, "--compress", compress, "--format", "json", *options],
        check=True,
        stdout=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    found = lowbitc.simulate(program, test, threads=1)
    return Run(found.metrics["top1"], json.loads(done.stdout)["epochs"])


def main() -> None:
    """Train each network from each start, with and without AdaComp."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--zoo", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path())
    parser.add_argument("--networks", nargs="+", default=list(DATA))
    parser.add_argument("--starts", nargs="+", default=list(STARTS))
    parser.add_argument("--bits", default="4/4/4")
    parser.add_argument("--samples", type=int, default=20_000)
    parser.add_argument("--epochs", default="3")
    parser.add_argument("--batch", default="128")
    parser.add_argument("--seed", default="0")
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    print(
        "| network | start | uncompressed | AdaComp | convolutions | dense | all sent |", flush=True
    )
    print("|---|---|---:|---:|---:|---:|---:|", flush=True)
    for network in given.networks:
        train_name, test_name = DATA[network]
        with np.load(given.data / f"{train_name}.npz") as held:
            x, y = held["x"][: given.samples], held["y"][: given.samples]
        data = given.work / f"{network}.npz"
        np.savez(data, x=x, y=y.astype(np.int64))
        test = given.data / f"{test_name}.npz"
        for start in given.starts:
            model = given.work / f"{network}.onnx"
            model.write_bytes((given.zoo / f"{network}.onnx").read_bytes())
            if start == "random":
                model = randomized(model, given.work)
            options = ["--bits", given.bits, "--epochs", given.epochs, "--batch", given.batch]
            options += ["--seed", given.seed, "--learning-rate", STARTS[start]]
            options += ["--weights", "sawb", "--toward", "labels", "--device", "cpu"]
            plain, compressed = (
                train(model, data, test, compress, options) for compress in ("none", "adacomp")
            )
            for epoch in compressed.epochs:
                print(network, start, epoch, file=sys.stderr, flush=True)
            sent = [e["compression"] for e in compressed.epochs]
            # Over the whole run: bytes add up, so ratios have a harmonic mean.
            ratios = (
                len(sent) / sum(1 / e[k] for e in sent) for k in ("convolutions", "dense", "all")
            )
            print(
                f"| {network} | {start} | {plain.accuracy:.2%} | {compressed.accuracy:.2%} | "
                f"{' | '.join(f'{ratio:.0f}' for ratio in ratios)} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
