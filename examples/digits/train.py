"""Train the network of ``lowbitc demo`` on scikit-learn's 8x8 digits, in numpy alone.

    pip install scikit-learn
    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python examples/digits/train.py src/lowbitc/demo

writes digits.onnx, digits.calib.npz (256 training images, without labels) and digits.test.npz
(images and labels that training never saw); on one thread, the same bytes each time.
"""

from __future__ import annotations

import math
import sys
import time
from pathlib import Path
from typing import cast

import layers
import numpy as np
from export import to_onnx
from numpy.typing import NDArray
from sklearn.datasets import load_digits

SEED = 0
EPOCHS = 60
BATCH = 50
RATE = 0.05
SMOOTHING = np.float32(0.1)
CLASSES = 10
SIZE = 8
CENTRE = (SIZE - 1) / 2
TEST_SHARE = 4
CALIBRATION = 256

Labels = NDArray[np.int64]


def split(labels: Labels, random: np.random.Generator) -> tuple[Labels, Labels]:
    """Return the indices to train and to test on: a quarter of each class is held out."""
    test: list[int] = []
    for digit in range(CLASSES):
        members = random.permutation(np.flatnonzero(labels == digit))
        test += members[: len(members) // TEST_SHARE].tolist()
    held_out = np.array(sorted(test))
    return np.setdiff1d(np.arange(len(labels)), held_out), held_out


def distort(x: layers.F32, random: np.random.Generator) -> layers.F32:
    """Turn, scale and shift each image a little; N,1,8,8, sampled bilinearly."""
    n = len(x)
    angle, size = random.normal(0, 0.10, n), random.normal(1, 0.08, n)
    cos, sin = np.cos(angle) / size, np.sin(angle) / size
    rows, columns = np.meshgrid(np.arange(SIZE) - CENTRE, np.arange(SIZE) - CENTRE, indexing="ij")
    moves = random.normal(0, 0.5, (2, n, 1, 1))
    at_row = cos[:, None, None] * rows - sin[:, None, None] * columns + CENTRE + moves[0]
    at_column = sin[:, None, None] * rows + cos[:, None, None] * columns + CENTRE + moves[1]
    framed = np.pad(x[:, 0], ((0, 0), (2, 2), (2, 2)))
    at_row = np.clip(at_row + 2, 0, SIZE + 2.999)
    at_column = np.clip(at_column + 2, 0, SIZE + 2.999)
    top, left = at_row.astype(np.int64), at_column.astype(np.int64)
    down, right = at_row - top, at_column - left
    sample = np.arange(n)[:, None, None]
    upper = framed[sample, top, left] * (1 - right) + framed[sample, top, left + 1] * right
    lower = framed[sample, top + 1, left] * (1 - right) + framed[sample, top + 1, left + 1] * right
    return (upper * (1 - down) + lower * down).astype(np.float32)[:, None]


def run(network: list[layers.Layer], x: layers.F32, *, training: bool = False) -> layers.F32:
    """Return the logits, N,10."""
    for layer in network:
        x = layer.forward(x, training=training)
    return x


def train(x: layers.F32, labels: Labels, random: np.random.Generator) -> list[layers.Layer]:
    """Return a network trained by momentum, under a rate that falls like a cosine."""
    network: list[layers.Layer] = [
        layers.Conv(1, 24, random),
        layers.BatchNorm(24),
        layers.Relu(),
        layers.MaxPool(),
        layers.Conv(24, 48, random),
        layers.BatchNorm(48),
        layers.Relu(),
        layers.Dense(48 * 4 * 4, CLASSES, random),
    ]
    targets = np.eye(CLASSES, dtype=np.float32)[labels] * (1 - SMOOTHING) + SMOOTHING / CLASSES
    batches = len(x) // BATCH
    for epoch in range(EPOCHS):
        order = random.permutation(len(x))
        for batch in range(batches):
            picked = order[batch * BATCH : (batch + 1) * BATCH]
            logits = run(network, distort(x[picked], random), training=True)
            odds = np.exp(logits - logits.max(1, keepdims=True))
            gradient = (odds / odds.sum(1, keepdims=True) - targets[picked]) / np.float32(BATCH)
            for layer in reversed(network):
                gradient = layer.backward(gradient)
            done = (epoch + batch / batches) / EPOCHS
            rate = RATE * (1 + math.cos(math.pi * done)) / 2
            for layer in network:
                for parameter in layer.parameters:
                    parameter.step(rate)
    return network


def main(folder: Path) -> None:
    """Train, export, and say how well the network does on the images held out."""
    start = time.perf_counter()
    random = np.random.default_rng(SEED)
    pixels, digits = cast("tuple[layers.F32, Labels]", load_digits(return_X_y=True))
    x = (pixels / 16).astype(np.float32).reshape(-1, 1, SIZE, SIZE)
    labels = digits.astype(np.int64)
    seen, held_out = split(labels, random)
    network = train(x[seen], labels[seen], random)
    right = np.count_nonzero(run(network, x[held_out]).argmax(1) == labels[held_out])
    count = sum(p.value.size for layer in network for p in layer.parameters)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "digits.onnx").write_bytes(to_onnx(network, CLASSES).SerializeToString())
    calibration = np.sort(random.permutation(seen)[:CALIBRATION])
    np.savez_compressed(folder / "digits.calib.npz", x=x[calibration])
    np.savez_compressed(folder / "digits.test.npz", x=x[held_out], y=labels[held_out])
    share, seconds = right / len(held_out), time.perf_counter() - start
    print(f"{count} parameters; {share:.2%} of {len(held_out)} held-out images; {seconds:.0f} s")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
