"""Learn new classes on the simulated chip from a few examples, against nearest centroids.

    python benchmarks/learning.py FOLDER [--new 5,6,7,8,9] [--work WORK] [--seeds 3]

FOLDER holds MNIST or Fashion-MNIST as four IDX files, packed or not. A small network is trained in
numpy on five classes (old), compiled with a layer that learns, and taught the old classes; then
the five others (new) from a few examples of each. Every accuracy is among all ten classes. The
baseline gives each class the mean of the same binary features of the same examples, in floats.
"""

from __future__ import annotations

import argparse
import gzip
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

sys.path.insert(0, str(Path(__file__).parent.parent / "examples" / "digits"))
import layers

import lowbitc
from lowbitc.learning import feature_program, learn
from lowbitc.targets.engines.simulator import Simulator
from lowbitc.targets.learning.rule import Plasticity

if TYPE_CHECKING:
    import numpy.typing as npt

    from lowbitc.targets.program.program import Program

    Ints = npt.NDArray[np.int64]

OLD, CLASSES, CHANNELS, BATCH, RATE = 5, 10, 64, 50, 0.01
TRAINED, TESTED, OLD_EXAMPLES = 10_000, 2_000, 200


def read_idx(folder: Path, name: str) -> npt.NDArray[np.uint8]:
    """Read an IDX file, packed or not."""
    path = folder / name
    packed = Path(f"{path}.gz")
    data = path.read_bytes() if path.exists() else gzip.decompress(packed.read_bytes())
    rank = data[3]
    shape = [int.from_bytes(data[4 + 4 * i : 8 + 4 * i], "big") for i in range(rank)]
    return np.frombuffer(data, np.uint8, offset=4 + 4 * rank).reshape(shape)


def read_split(folder: Path, part: str) -> tuple[layers.F32, Ints]:
    """Return images [n, 1, 28, 28] in 0 … 1, and labels."""
    images = read_idx(folder, f"{part}-images-idx3-ubyte").astype(np.float32) / np.float32(255)
    return images[:, None], read_idx(folder, f"{part}-labels-idx1-ubyte").astype(np.int64)


def train(x: layers.F32, labels: Ints, epochs: int) -> list[Any]:
    """Train a small convolutional network by momentum."""
    random = np.random.default_rng(0)
    network: list[Any] = [
        layers.Conv(1, 16, random),
        layers.BatchNorm(16),
        layers.Relu(),
        layers.MaxPool(),
        layers.Conv(16, CHANNELS, random),
        layers.BatchNorm(CHANNELS),
        layers.Relu(),
        layers.MaxPool(),
        layers.Dense(CHANNELS * 7 * 7, OLD, random),
    ]
    targets = np.eye(OLD, dtype=np.float32)[labels]
    steps = len(x) // BATCH
    for epoch in range(epochs):
        order = random.permutation(len(x))
        for step in range(steps):
            picked = order[step * BATCH : (step + 1) * BATCH]
            logits = run(network, x[picked], training=True)
            odds = np.exp(logits - logits.max(1, keepdims=True))
            gradient = (odds / odds.sum(1, keepdims=True) - targets[picked]) / np.float32(BATCH)
            for layer in reversed(network):
                gradient = layer.backward(gradient)
            done = (epoch + step / steps) / epochs
            for layer in network:
                for parameter in layer.parameters:
                    parameter.step(RATE * (1 + math.cos(math.pi * done)) / 2)
    return network


def run(network: list[Any], x: layers.F32, *, training: bool = False) -> layers.F32:
    """Return the network's outputs."""
    for layer in network:
        x = layer.forward(x, training=training)
    return x


def to_onnx(network: list[Any]) -> onnx.ModelProto:
    """Return the network from ``x`` to ``logits``."""
    nodes: list[onnx.NodeProto] = []
    held: list[onnx.TensorProto] = []
    value = "x"

    def add(op: str, *arrays: layers.F32, **attributes: float | list[int]) -> None:
        nonlocal value
        name = f"{op.lower()}{len(nodes)}"
        names = [f"{name}.{i}" for i in range(len(arrays))]
        held.extend(numpy_helper.from_array(a, n) for a, n in zip(arrays, names, strict=True))
        output = f"{name}.out"
        nodes.append(helper.make_node(op, [value, *names], [output], name, **attributes))
        value = output

    for layer in network:
        match layer:
            case layers.Conv():
                add("Conv", layer.weight.value, kernel_shape=[3, 3], pads=[1] * 4)
            case layers.BatchNorm():
                arrays = (layer.scale.value, layer.shift.value, layer.mean, layer.variance)
                add("BatchNormalization", *arrays, epsilon=float(layer.epsilon))
            case layers.Relu():
                add("Relu")
            case layers.MaxPool():
                add("MaxPool", kernel_shape=[2, 2], strides=[2, 2])
            case _:
                add("Flatten", axis=1)
                add("Gemm", layer.weight.value, layer.bias.value, transB=1)
    graph = helper.make_graph(
        nodes,
        "features",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 1, 28, 28])],
        [helper.make_tensor_value_info(value, TensorProto.FLOAT, ["N", OLD])],
        held,
    )
    opset = helper.make_opsetid("", 17)
    return helper.make_model(graph, opset_imports=[opset], ir_version=8)


def sorted_classes(labels: Ints, new: list[int]) -> Ints:
    """Return labels renamed so that the new classes come last."""
    order = [c for c in range(CLASSES) if c not in new] + new
    return np.argsort(order)[labels]


@dataclass
class Bench:
    """The data, the compiled program, and its binary features of all that is looked at."""

    program: Program
    x: layers.F32
    y: Ints
    test_x: layers.F32
    test_y: Ints

    def __post_init__(self) -> None:
        """Compute the features of the test images once."""
        self.features = Simulator(feature_program(self.program), "fast")
        self.test_features = self.binary(self.test_x)

    def binary(self, x: layers.F32) -> layers.F32:
        """Return the features that the learning layer reads."""
        (output,) = self.features.run({"x": x}).values()
        return output.astype(np.float32)

    def draw(self, random: np.random.Generator, classes: range, count: int) -> Ints:
        """Draw examples of each class, in random order."""
        drawn = [random.permutation(np.flatnonzero(self.y == c))[:count] for c in classes]
        return random.permutation(np.concatenate(drawn))

    def shares(self, guesses: Ints) -> tuple[float, float]:
        """Return the accuracy on old and on new classes."""
        right, old = guesses == self.test_y, self.test_y < OLD
        return float(right[old].mean()), float(right[~old].mean())

    def taught(self, program: Program, examples: Ints, plasticity: Plasticity) -> Program:
        """Return a program that learned examples."""
        data = {"x": self.x[examples], "y": self.y[examples]}
        return learn(program, data, plasticity=plasticity).program

    def accuracy(self, program: Program) -> tuple[float, float]:
        """Run a program on the simulated chip."""
        (scores,) = Simulator(program, "fast").run({"x": self.test_x}).values()
        return self.shares(scores.argmax(1))

    def centroids(self, examples: Ints) -> tuple[float, float]:
        """Measure the baseline that has seen the same examples."""
        features, labels = self.binary(self.x[examples]), self.y[examples]
        means = np.stack([features[labels == c].mean(0) for c in range(CLASSES)])
        distance = (means**2).sum(1) - 2 * self.test_features @ means.T
        return self.shares(distance.argmin(1))


def per_class(labels: Ints, examples: Ints, start: int, stop: int) -> Ints:
    """Return the examples number ``start`` to ``stop`` of each class, in their order."""
    place = {e: i for c in range(CLASSES) for i, e in enumerate(examples[labels[examples] == c])}
    return np.array([e for e in examples if start <= place[e] < stop])


def main() -> None:
    """Train, compile, teach and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--new", default="5,6,7,8,9")
    parser.add_argument("--work", type=Path, default=Path())
    parser.add_argument("--shots", default="1,5,10,50")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--neurons", type=int, default=50)
    parser.add_argument("--competition", type=float, default=0.0)
    given = parser.parse_args()
    new = [int(c) for c in given.new.split(",")]
    (x, y), (test_x, test_y) = (read_split(given.folder, part) for part in ("train", "t10k"))
    y, test_y = sorted_classes(y, new), sorted_classes(test_y, new)
    old = np.flatnonzero(y < OLD)[:TRAINED]
    model = given.work / "features.onnx"
    if not model.exists():
        onnx.save(to_onnx(train(x[old], y[old], 1)), model)
    spelled = f"{CLASSES}:{given.neurons}"
    blank = lowbitc.compile(
        model, calib={"x": x[old[:512]]}, bits="8/4/4", weights="mse", learn=spelled
    )
    bench = Bench(blank, x, y, test_x[:TESTED], test_y[:TESTED])
    plasticity = Plasticity(competition=given.competition)
    shots = [int(s) for s in given.shots.split(",")]
    rows: list[list[tuple[float, ...]]] = []
    for seed in range(given.seeds):
        random = np.random.default_rng(seed)
        known = bench.draw(random, range(OLD), OLD_EXAMPLES)
        few = bench.draw(random, range(OLD, CLASSES), max(shots))
        program = bench.taught(blank, known, plasticity)
        before = bench.accuracy(program)[0]
        rows.append([])
        seen = 0
        for count in shots:
            # Each step goes on from the program of the step before.
            program = bench.taught(program, per_class(bench.y, few, seen, count), plasticity)
            seen = count
            examples = np.concatenate([known, per_class(bench.y, few, 0, count)])
            rows[-1].append((before, *bench.accuracy(program), *bench.centroids(examples)))
    print("| examples | old before | old after | new | old, centroids | new, centroids |")
    print("|---:|---:|---:|---:|---:|---:|")
    for count, row in zip(shots, np.mean(rows, axis=0), strict=True):
        print(f"| {count} | {' | '.join(f'{100 * v:.1f}' for v in row)} |")


if __name__ == "__main__":
    main()
