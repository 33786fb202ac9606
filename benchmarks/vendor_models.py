"""The networks of the AKD1000's model zoo, as float ONNX models with seeded weights.

Only their published structure is used: layers, widths, strides and the position of the global
average pool (before the ReLU, as version 1 of the vendor's layers has it). Batch norms have the
statistics of a few images, so that about half of the levels are zero.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Array = npt.NDArray[Any]
_OPSET = 17
_IR = 8
_TABLE = (64, 128, 128, 256, 256, *(512,) * 6, 1024, 1024)
_STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)
"""Filters and strides of AkidaNet and MobileNetV1 behind the first layer, at width 1."""


@dataclass
class _Network:
    """Nodes and weights so far; ``x`` are the values of the last one for some images."""

    x: Array
    random: np.random.Generator
    shape: tuple[int, ...] = ()
    nodes: list[onnx.NodeProto] = field(default_factory=list[onnx.NodeProto])
    weights: list[onnx.TensorProto] = field(default_factory=list[onnx.TensorProto])
    last: str = "x"

    def __post_init__(self) -> None:
        self.shape = self.x.shape[1:]

    def add(self, op: str, *arrays: Array, **attributes: object) -> None:
        """Append a node that reads the last value and some constants, and compute it."""
        names = [f"w{len(self.weights) + i}" for i in range(len(arrays))]
        held = [
            numpy_helper.from_array(a if a.dtype == np.int64 else a.astype(np.float32), n)
            for a, n in zip(arrays, names, strict=True)
        ]
        name = f"{op.lower()}{len(self.nodes)}"
        node = helper.make_node(op, [self.last, *names], [f"{name}_out"], name=name, **attributes)
        graph = helper.make_graph(
            [node],
            name,
            [helper.make_tensor_value_info(self.last, TensorProto.FLOAT, None)],
            [helper.make_tensor_value_info(f"{name}_out", TensorProto.FLOAT, None)],
            held,
        )
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        session = ort.InferenceSession(
            _model(graph).SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        (self.x,) = session.run(None, {self.last: self.x})
        self.nodes.append(node)
        self.weights.extend(held)
        self.last = f"{name}_out"

    def convolve(self, filters: int, kernel: int, stride: int, groups: int = 1) -> None:
        inputs = self.x.shape[1] // groups
        w = self.random.standard_normal((filters, inputs, kernel, kernel))
        w *= (2 / (inputs * kernel**2)) ** 0.5
        pads: list[list[int]] = []
        for n in self.x.shape[2:]:
            total = max((-(-n // stride) - 1) * stride + kernel - n, 0)
            pads.append([total // 2, total - total // 2])
        (top, bottom), (left, right) = pads
        self.add("Conv", w, strides=[stride] * 2, pads=[top, left, bottom, right], group=groups)

    def normalize(self) -> None:
        axes = (0, *range(2, self.x.ndim))
        mean, variance = self.x.mean(axis=axes), self.x.var(axis=axes)
        ones = np.ones_like(mean)
        self.add("BatchNormalization", ones, 0 * ones, mean, variance + 1e-3)

    def layer(self, filters: int, kernel: int, stride: int = 1, pool: str = "") -> None:
        """Add a convolution with batch norm, pool and ReLU."""
        self.convolve(filters, kernel, stride)
        self.finish(pool)

    def separable(self, filters: int, stride: int = 1, pool: str = "") -> None:
        """Add a depthwise and a pointwise convolution with nothing in between."""
        self.convolve(self.x.shape[1], 3, stride, groups=self.x.shape[1])
        self.convolve(filters, 1, 1)
        self.finish(pool)

    def finish(self, pool: str) -> None:
        self.normalize()
        if pool == "mean":
            self.add("GlobalAveragePool")
        self.add("Relu")
        if pool == "max":
            self.add("MaxPool", kernel_shape=[2, 2], strides=[2, 2])

    def dense(self, units: int, *, relu: bool = False) -> None:
        if self.x.ndim > 2:
            self.add("Flatten")
        inputs = self.x.shape[1]
        self.add("Gemm", self.random.standard_normal((inputs, units)) * (2 / inputs) ** 0.5)
        if relu:
            self.normalize()
            self.add("Relu")

    def model(self, name: str) -> onnx.ModelProto:
        shape = ["N", *self.shape]
        graph = helper.make_graph(
            self.nodes,
            name,
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info(self.last, TensorProto.FLOAT, ["N", self.x.shape[1]])],
            self.weights,
        )
        return _model(graph)


def _model(graph: onnx.GraphProto) -> onnx.ModelProto:
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR)


def akidanet(net: _Network, width: float, classes: int = 1000) -> None:
    """Build three convolutions, then separable layers."""
    _mobile(net, width, classes, convolutions=3)


def mobilenet(net: _Network, width: float, classes: int = 1000) -> None:
    """Build MobileNetV1 of separable layers."""
    _mobile(net, width, classes, convolutions=0)


def _mobile(net: _Network, width: float, classes: int, convolutions: int) -> None:
    net.layer(int(32 * width), 3, 2)
    for number, (filters, stride) in enumerate(zip(_TABLE, _STRIDES, strict=True)):
        pool = "mean" if number == len(_TABLE) - 1 else ""
        if number < convolutions:
            net.layer(int(filters * width), 3, stride)
        else:
            net.separable(int(filters * width), stride, pool)
    net.dense(classes)


def ds_cnn(net: _Network) -> None:
    """Build the keyword network: 33 words from 49 x 10 MFCCs."""
    net.layer(64, 5, 2)
    for pool in ("", "", "", "mean"):
        net.separable(64, 1, pool)
    net.dense(33)


def vgg(net: _Network) -> None:
    """Build the network that tells ages from faces of 32 x 32."""
    net.layer(32, 3)
    net.layer(32, 3, pool="max")
    net.layer(64, 3)
    net.layer(64, 3, pool="max")
    net.layer(84, 3)
    net.dense(64, relu=True)
    net.dense(1)


def gxnor(net: _Network) -> None:
    """Build the network for MNIST of 2-bit weights and 1-bit activations."""
    net.layer(32, 5, pool="max")
    net.layer(64, 3, 2)
    net.dense(512, relu=True)
    net.dense(10)


def centroids(net: _Network) -> None:
    """Build a detector on AkidaNet 0.5's first layers (a third party's, with a published map)."""
    net.layer(16, 3, 2)
    for filters, stride in ((32, 1), (64, 2), (64, 1)):
        net.layer(filters, 3, stride)
    net.separable(128, 2)
    net.separable(128)
    net.layer(32, 1)
    net.convolve(2, 1, 1)
    net.add("GlobalMaxPool")
    net.add("Flatten")


@dataclass(frozen=True)
class Published:
    """A row of the vendor's tables: NPs of the smallest mapping, and the program's size in KB.

    ``older_nps`` are those of the mapping that the size belongs to, where they differ: classifiers
    were then split over NPs.
    """

    name: str
    bits: str
    shape: tuple[int, ...]
    build: Callable[[_Network], None]
    nps: int
    size_kb: float
    params: str
    older_nps: int = 0


def _family(
    label: str, build: Callable[[_Network, float], None], rows: Sequence[tuple[Any, ...]]
) -> tuple[Published, ...]:
    def maker(width: float) -> Callable[[_Network], None]:
        return lambda net: build(net, width)

    return tuple(
        Published(
            f"{label} {width:g} @{side}",
            "8/4/4",
            (3, side, side),
            maker(width),
            nps,
            kb,
            params,
            old,
        )
        for width, side, old, nps, kb, params in rows
    )


ZOO: tuple[Published, ...] = (
    *_family(
        "AkidaNet",
        akidanet,
        (
            (0.25, 160, 23, 20, 392.3, "0.48M"),
            (0.5, 160, 30, 24, 1099.4, "1.4M"),
            (1.0, 160, 81, 68, 4090.2, "4.4M"),
            (0.25, 224, 25, 22, 398.1, "0.48M"),
            (0.5, 224, 38, 32, 1214.4, "1.4M"),
            (1.0, 224, 129, 116, 6322.6, "4.4M"),
        ),
    ),
    *_family(
        "MobileNetV1",
        mobilenet,
        (
            (0.25, 160, 23, 20, 365, "467K"),
            (0.5, 160, 30, 24, 1017, "1.3M"),
            (1.0, 160, 78, 65, 3554, "4.2M"),
            (0.25, 224, 25, 22, 367, "467K"),
            (0.5, 224, 38, 32, 1075, "1.3M"),
            (1.0, 224, 123, 110, 5252, "4.2M"),
        ),
    ),
    Published(
        "AkidaNet 0.25 @96, 2 classes",
        "8/4/4",
        (3, 96, 96),
        lambda net: akidanet(net, 0.25, 2),
        16,
        179.2,
        "",
    ),
    Published("DS-CNN, keywords", "8/4/4", (1, 49, 10), ds_cnn, 5, 22.8, "22.7K"),
    Published("VGG-like, UTKFace", "8/2/2", (3, 32, 32), vgg, 6, 139.8, "458K"),
    Published("GXNOR, MNIST", "2/2/1", (1, 28, 28), gxnor, 3, 412.6, "1.6M"),
)


def build(row: Published, seed: int = 0) -> tuple[onnx.ModelProto, Array]:
    """Return a row's model and four images for it, in -1 … 1 (from 0 for one channel)."""
    random = np.random.default_rng(seed)
    images = smooth_images(row.shape, 4, random)
    net = _Network(images, random)
    row.build(net)
    return net.model(row.name), images


def smooth_images(shape: tuple[int, ...], count: int, random: np.random.Generator) -> Array:
    """Return random images with larger patches than pixels, as photographs have."""
    channels, height, width = shape
    fine = np.zeros((count, channels, height, width))
    for side in (4, 8, 16, 32):
        rows, columns = -(-height // side), -(-width // side)
        coarse = random.standard_normal((count, channels, rows, columns))
        patches = np.kron(coarse, np.ones((1, 1, side, side)))
        fine += patches[:, :, :height, :width]
    fine /= np.abs(fine).max()
    return (np.abs(fine) if channels == 1 else fine).astype(np.float32)
