"""Small models of the shapes that real networks have, and samples for each."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.networks.building import Model
from tests.networks.running import smooth

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt
    import onnx

    Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Case:
    """A model, samples, and the signal-to-noise ratio in dB to hold at 8 and at 4 bits."""

    model: onnx.ModelProto
    inputs: Mapping[str, Array]
    outputs: tuple[str, ...]
    least: tuple[float, float]
    launches: int = 1
    shapes: tuple[str, ...] = ()


def residual() -> Case:
    """MobileNetV2: ReLU6, depthwise layers, linear bottlenecks, an asymmetric Pad."""
    net = Model()
    x = net.input("x", "n", 3, 17, 17)
    padded = net.add("Pad", x, net.constant([0, 0, 0, 0, 0, 0, 1, 1]))
    stem = net.relu6(net.batch_norm(net.conv(padded, 3, 8, stride=2, pad=0), 8))
    thin = net.batch_norm(net.conv(stem, 8, 8, (1, 1), pad=0), 8)
    for _ in range(2):
        wide = net.relu6(net.batch_norm(net.conv(thin, 8, 24, (1, 1), pad=0), 24))
        deep = net.relu6(net.batch_norm(net.conv(wide, 24, 24, groups=24), 24))
        thin = net.add("Add", thin, net.batch_norm(net.conv(deep, 24, 8, (1, 1), pad=0), 8))
    mean = net.add("Flatten", net.add("GlobalAveragePool", thin))
    scores = net.dense(mean, 8, 10)
    return Case(net.done(scores), {"x": smooth(8, 3, 17, 17)}, (scores,), (28, 23))


def norm_after_relu() -> Case:
    """Batch norm after ReLU, with scales of both signs, before padded convolutions."""
    net = Model(1)
    x = net.input("x", "n", 2, 9, 9)
    for inward, outward in ((2, 6), (6, 8)):
        x = net.batch_norm(net.relu(net.conv(x, inward, outward)), outward, signs=True)
    y = net.conv(x, 8, 4)
    return Case(net.done(y), {"x": smooth(8, 2, 9, 9)}, (y,), (31, 20))


def lines() -> Case:
    """CREPE: 1-D convolutions, ReLU, batch norm, max pools, a dense layer, sigmoid."""
    net = Model(2)
    x = net.input("x", "n", 128)
    wave = net.reshape(x, 0, 1, 128)
    for inward, outward, stride in ((1, 8, 4), (8, 8, 1), (8, 4, 1)):
        y = net.conv(wave, inward, outward, (5,), stride=stride, pad=2)
        y = net.batch_norm(net.relu(y), outward)
        wave = net.add("MaxPool", y, kernel_shape=[2], strides=[2])
    flat = net.reshape(net.add("Transpose", wave, perm=[0, 2, 1]), 0, 16)
    y = net.add("Sigmoid", net.dense(flat, 16, 12))
    # Weights hold back where rows are few: worse on these samples, better on others (28.4 dB for
    # 28.0 on 64 of another seed).
    return Case(net.done(y), {"x": smooth(8, 128)}, (y,), (40, 33))


def autoencoder() -> Case:
    """Dense layers with batch norm and ReLU down to a few units, and up again."""
    net = Model(3)
    x = net.input("x", "n", 40)
    sizes = (40, 32, 32, 6, 32)
    y = x
    for inward, outward in itertools.pairwise(sizes):
        y = net.relu(net.batch_norm(net.dense(y, inward, outward), outward))
    y = net.dense(y, 32, 40)
    base = smooth(16, 5)
    mixed = base @ smooth(5, 40, seed=4)
    return Case(net.done(y), {"x": mixed.astype(np.float32)}, (y,), (31, 16))


def transformer() -> Case:
    """Word ids, embeddings, attention and GELU; two encoder blocks."""
    net = Model(4)
    ids = net.input("ids", "n", "t", kind="int64")
    width, heads, length = 16, 2, 6
    x = net.layer_norm(net.add("Gather", net.normal(50, width), ids), width)
    for _ in range(2):
        q, k, v = (net.reshape(net.product(x, width, width), 0, length, heads, 8) for _ in "qkv")
        q, v = (net.add("Transpose", part, perm=[0, 2, 1, 3]) for part in (q, v))
        k = net.add("Transpose", k, perm=[0, 2, 3, 1])
        scores = net.add("Div", net.add("MatMul", q, k), net.constant(np.float32(8**0.5)))
        mixed = net.add("MatMul", net.add("Softmax", scores, axis=-1), v)
        joined = net.reshape(net.add("Transpose", mixed, perm=[0, 2, 1, 3]), 0, length, width)
        x = net.layer_norm(net.add("Add", x, net.product(joined, width, width)), width)
        inner = net.product(net.gelu(net.product(x, width, 32)), 32, width)
        x = net.layer_norm(net.add("Add", x, inner), width)
    ids_of = np.random.default_rng(0).integers(0, 50, (8, length))
    return Case(net.done(x), {"ids": ids_of}, (x,), (32, 21), 6, ("ids=N,6",))


def read_lines() -> Case:
    """Read lines as a CRNN: convolutions, a recurrent layer on the CPU, scores by time step."""
    net = Model(5)
    x = net.input("x", "n", 1, 8, 24)
    y = net.relu(net.batch_norm(net.conv(x, 1, 6), 6))
    y = net.add("MaxPool", y, kernel_shape=[2, 2], strides=[2, 2])
    y = net.relu(net.conv(y, 6, 8, (4, 1), pad=0))
    y = net.add("Transpose", net.reshape(y, 0, 8, 12), perm=[2, 0, 1])
    units = 5
    held = [net.normal(2, k * units, n, spread=0.4) for k, n in ((3, 8), (3, units))]
    y = net.add("GRU", y, *held, hidden_size=units, direction="bidirectional")
    y = net.reshape(net.add("Transpose", y, perm=[2, 0, 1, 3]), 0, 12, 2 * units)
    y = net.product(y, 2 * units, 7)
    return Case(net.done(y), {"x": smooth(8, 1, 8, 24)}, (y,), (38, 23), 2)


def windows_of_sound() -> Case:
    """Detect voices: windows as frames, states as inputs and outputs, a recurrent layer."""
    net = Model(6)
    windows, units = 5, 4
    x = net.input("x", "t", 32)
    h, c = (net.input(name, 1, 1, units) for name in "hc")
    y = net.add("Unsqueeze", x, net.constant([1]))
    y = net.add("Pad", y, net.constant([0, 0, 0, 0, 0, 4]), mode="reflect")
    spectrum = net.add("Conv", y, net.normal(10, 1, 8, spread=0.3), strides=[4])
    real, imaginary = (net.cut(spectrum, 1, a, b) for a, b in ((0, 5), (5, 10)))
    power = net.add("Add", net.add("Mul", real, real), net.add("Mul", imaginary, imaginary))
    y = net.relu(net.conv(net.add("Sqrt", power), 5, 6, (3,)))
    y = net.relu(net.conv(y, 6, 6, (8,), pad=0))
    y = net.add("Transpose", y, perm=[0, 2, 1])
    held = [net.normal(1, 4 * units, n, spread=0.4) for n in (6, units)]
    y, h, c = net.several("LSTM", y, *held, "", "", h, c, outputs=3, hidden_size=units)
    y = net.add("Relu", net.reshape(y, windows, units, 1))
    y = net.add("Sigmoid", net.conv(y, units, 1, (1,), pad=0))
    inputs: dict[str, Array] = {"x": smooth(8, windows, 32)}
    inputs |= {name: 0.1 * smooth(8, 1, units, seed=9) for name in "hc"}
    return Case(net.done(y, h, c), inputs, (y, h, c), (27, 11), 3, ("x=5,32",))


def detector() -> Case:
    """YOLOX: focus slices, SiLU, Concat over branches, nearest Resize, three kinds of heads."""
    net = Model(7)
    x = net.input("x", 1, 3, 16, 16)
    corners = [net.cut(net.cut(x, 2, a, 16, 2), 3, b, 16, 2) for b in (0, 1) for a in (0, 1)]
    y = net.silu(net.conv(net.add("Concat", *corners, axis=1), 12, 8))
    left = net.silu(net.conv(y, 8, 4, (1, 1), pad=0))
    inner = net.silu(net.conv(net.silu(net.conv(left, 4, 4, (1, 1), pad=0)), 4, 4))
    right = net.silu(net.conv(y, 8, 4, (1, 1), pad=0))
    fine = net.silu(net.conv(net.add("Concat", net.add("Add", inner, left), right, axis=1), 8, 8))
    coarse = net.silu(net.conv(fine, 8, 8, stride=2))
    pools = [
        net.add("MaxPool", coarse, kernel_shape=[k, k], strides=[1, 1], pads=[k // 2] * 4)
        for k in (3, 5)
    ]
    coarse = net.silu(net.conv(net.add("Concat", coarse, *pools, axis=1), 24, 8, (1, 1), pad=0))
    fine = net.silu(net.conv(net.add("Concat", net.twice(coarse), fine, axis=1), 16, 8))
    rows: list[str] = []
    for level, cells in ((fine, 64), (coarse, 16)):
        head = net.silu(net.conv(level, 8, 8))
        boxes = net.conv(head, 8, 4, (1, 1), pad=0)
        sure, kinds = (net.add("Sigmoid", net.conv(head, 8, n, (1, 1), pad=0)) for n in (1, 2))
        joined = net.add("Concat", boxes, sure, kinds, axis=1)
        rows.append(net.reshape(joined, 1, 7, cells))
    y = net.add("Transpose", net.add("Concat", *rows, axis=2), perm=[0, 2, 1])
    pixels = 60 + 40 * smooth(8, 3, 16, 16)
    return Case(net.done(y), {"x": pixels.clip(0, 255)}, (y,), (26, 17))


def many_readers() -> Case:
    """Give outputs that are also inner values, and values that both sides read."""
    net = Model(8)
    x = net.input("x", "n", 3, 8, 8)
    first = net.relu(net.conv(x, 3, 6))
    second = net.conv(first, 6, 6)
    on_cpu = net.add("Softmax", first, axis=1)
    third = net.conv(net.add("Add", net.relu(second), first), 6, 4)
    mixed = net.add("Mul", second, on_cpu)
    fourth = net.conv(mixed, 6, 2)
    outputs = (first, second, third, fourth)
    return Case(net.done(*outputs), {"x": smooth(8, 3, 8, 8)}, outputs, (28, 15), 2)


def unrolled_cell() -> Case:
    """Write an LSTM cell out: shared weights, Split, products of activations, zero states."""
    net = Model(9)
    units, steps = 6, 3
    x = net.input("x", "n", steps, 5)
    weights, bias = net.normal(4 * units, 5, spread=0.4), net.normal(4 * units, spread=0.1)
    again = net.normal(4 * units, units, spread=0.4)
    first = net.constant(np.zeros((1, units), np.float32))
    h, c = first, first
    for step in range(steps):
        now = net.add("Gather", x, net.constant(step), axis=1)
        gates = net.add("Gemm", now, weights, bias, transB=1)
        gates = net.add("Add", gates, net.add("Gemm", h, again, transB=1))
        parts = net.several("Split", gates, net.constant([units] * 4), outputs=4, axis=1)
        i, f, o = (net.add("Sigmoid", part) for part in parts[:3])
        fresh = net.add("Mul", i, net.add("Tanh", parts[3]))
        c = net.add("Add", net.add("Mul", f, c), fresh)
        h = net.add("Mul", o, net.add("Tanh", c))
    y = net.dense(h, units, 4)
    return Case(net.done(y), {"x": smooth(8, steps, 5)}, (y,), (35, 24), 4)


def two_images() -> Case:
    """Two inputs that meet in Concat and Add, and an encoder with a decoder."""
    net = Model(10)
    a, b = net.input("a", "n", 2, 8, 8), net.input("b", "n", 2, 8, 8)
    left, right = (net.relu(net.conv(v, 2, 6, stride=2)) for v in (a, b))
    joined = net.add("Concat", left, right, net.add("Add", left, right), axis=1)
    up = net.add("ConvTranspose", joined, net.normal(18, 4, 2, 2, spread=0.3), strides=[2, 2])
    y = net.add("Tanh", net.conv(net.add("LeakyRelu", up, alpha=0.1), 4, 2))
    inputs: dict[str, Array] = {"a": smooth(8, 2, 8, 8), "b": 3 * smooth(8, 2, 8, 8, seed=5)}
    return Case(net.done(y), inputs, (y,), (23, 12))


def shuffled() -> Case:
    """ShuffleNet: groups, channels shuffled through five dimensions, an average pool with pads."""
    net = Model(11)
    x = net.relu(net.conv(net.input("x", "n", 3, 8, 8), 3, 8))
    y = net.relu(net.conv(x, 8, 8, (1, 1), pad=0, groups=2))
    y = net.add("Transpose", net.reshape(y, 0, 2, 4, 8, 8), perm=[0, 2, 1, 3, 4])
    y = net.conv(net.reshape(y, 0, 8, 8, 8), 8, 8, stride=2, groups=8)
    around = net.add("AveragePool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    y = net.relu(net.add("Concat", around, y, axis=1))
    y = net.add("ReduceMean", net.conv(y, 16, 6), axes=[2, 3], keepdims=0)
    return Case(net.done(y), {"x": smooth(8, 3, 8, 8)}, (y,), (31, 17))


CASES = {
    make.__name__: make
    for make in (
        residual,
        norm_after_relu,
        lines,
        autoencoder,
        transformer,
        read_lines,
        windows_of_sound,
        detector,
        many_readers,
        unrolled_cell,
        two_images,
        shuffled,
    )
}
