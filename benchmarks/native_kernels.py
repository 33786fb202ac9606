"""Time native plans against float32 ONNX Runtime, interleaved, on random networks.

    python benchmarks/native_kernels.py [--networks resnet18 ...] [--bits 8 4] [--batches 8 1]

Prints, for each network, the median of float time over native time, pair by pair: runs of the two
alternate, so load from elsewhere falls on both. On a busy machine, ``--threads 1 --cpu`` compares
processor time instead, which waiting for a turn does not lengthen.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from lowbitc.compiler.onnx_session import OnnxSession
from lowbitc.targets.native import AddStage, Raw, Requantize, Stage, Thresholds, Window
from lowbitc.targets.native.builder import PlanBuilder

if TYPE_CHECKING:
    from collections.abc import Callable

    from lowbitc.targets.native.layers import Value
    from lowbitc.targets.native.plan import Plan

Float32 = npt.NDArray[np.float32]


@dataclass
class Network:
    """One network built twice: as a float ONNX graph and as a native plan."""

    bits: int
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))
    nodes: list[onnx.NodeProto] = field(default_factory=list[onnx.NodeProto])
    constants: list[onnx.TensorProto] = field(default_factory=list[onnx.TensorProto])
    builder: PlanBuilder = field(default_factory=PlanBuilder)
    values: dict[str, Value] = field(default_factory=dict[str, "Value"])
    scale: dict[str, float] = field(default_factory=dict[str, float])
    count: int = 0

    def input(self) -> str:
        """Add the image."""
        self.values["x"] = self.builder.input((3, 224, 224), -128, 127)
        self.scale["x"] = 1 / 32
        return "x"

    def _name(self) -> str:
        self.count += 1
        return f"v{self.count}"

    def conv(
        self,
        x: str,
        outputs: int,
        kernel: int,
        stride: int = 1,
        *,
        depthwise: bool = False,
        activation: str = "",
    ) -> str:
        """Add a convolution with weights of unit gain, and its activation."""
        channels = self.values[x].shape[0]
        groups = channels if depthwise else 1
        shape = (outputs, channels // groups, kernel, kernel)
        fan_in = shape[1] * kernel * kernel
        gain = 1.0 if activation == "" else 2.0**0.5
        w = self.rng.normal(0, gain / fan_in**0.5, shape).astype(np.float32)
        first = x == "x"
        weight_bits = 8 if first else self.bits
        largest = 2 ** (weight_bits - 1) - 1
        weight_scale = np.abs(w).max(axis=(1, 2, 3)) / largest * (0.7 if weight_bits < 8 else 1)
        levels = np.clip(np.rint(w / weight_scale[:, None, None, None]), -largest, largest)
        y = self._float_conv(x, w, stride, groups, activation)
        low, high = (0, 2**self.bits - 1) if activation else (-128, 127)
        out_scale = 4.0 / high if activation else 4.0 / 128
        ratio = weight_scale * self.scale[x] / out_scale
        stage: Stage = requantize(ratio, low, high)
        if activation and self.bits < 8:
            steps = np.arange(1, high + 1) - 0.5
            stage = Thresholds(np.ceil(steps[None, :] / ratio[:, None]).astype(np.int64))
        pad = kernel // 2
        window = Window((kernel, kernel), (stride, stride), (pad, pad, pad, pad))
        self.values[y] = self.builder.conv(
            self.values[x], levels.astype(np.int8), stage, window, groups=groups
        )
        self.scale[y] = out_scale
        return y

    def _float_conv(self, x: str, w: Float32, stride: int, groups: int, activation: str) -> str:
        y = self._name()
        kernel = w.shape[2]
        bias = np.zeros(w.shape[0], np.float32)
        self.constants += [
            numpy_helper.from_array(w, f"{y}_w"),
            numpy_helper.from_array(bias, f"{y}_b"),
        ]
        self.nodes.append(
            helper.make_node(
                "Conv",
                [x, f"{y}_w", f"{y}_b"],
                [y],
                kernel_shape=[kernel, kernel],
                strides=[stride, stride],
                pads=[kernel // 2] * 4,
                group=groups,
            )
        )
        if activation == "relu":
            self.nodes.append(helper.make_node("Relu", [y], [f"{y}_r"]))
        elif activation == "relu6":
            if all(c.name != "six" for c in self.constants):
                self.constants += [
                    numpy_helper.from_array(np.array(0, np.float32), "zero"),
                    numpy_helper.from_array(np.array(6, np.float32), "six"),
                ]
            self.nodes.append(helper.make_node("Clip", [y, "zero", "six"], [f"{y}_r"]))
        else:
            return y
        return f"{y}_r"

    def add(self, a: str, b: str, *, relu: bool) -> str:
        """Add a residual Add."""
        y = self._name()
        self.nodes.append(helper.make_node("Add", [a, b], [y]))
        if relu:
            self.nodes.append(helper.make_node("Relu", [y], [f"{y}_r"]))
            y = f"{y}_r"
        low, high = (0, 2**self.bits - 1) if relu else (-128, 127)
        out_scale = 4.0 / max(high, 1)
        factors = (self.scale[a] / out_scale, self.scale[b] / out_scale)
        shift = 14 - int(np.frexp(max(factors))[1])
        ma, mb = (round(f * 2.0**shift) for f in factors)
        self.values[y] = self.builder.add(
            self.values[a], self.values[b], AddStage(ma, mb, shift, low, high)
        )
        self.scale[y] = out_scale
        return y

    def max_pool(self, x: str) -> str:
        """Add ResNet's pool."""
        y = self._name()
        self.nodes.append(
            helper.make_node("MaxPool", [x], [y], kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
        )
        self.values[y] = self.builder.max_pool(self.values[x], Window((3, 3), (2, 2), (1, 1, 1, 1)))
        self.scale[y] = self.scale[x]
        return y

    def head(self, x: str) -> None:
        """Add global average pool and the classifier."""
        channels, height, width = self.values[x].shape
        w = self.rng.normal(0, channels**-0.5, (channels, 1000)).astype(np.float32)
        self.constants += [
            numpy_helper.from_array(w, "fw"),
            numpy_helper.from_array(np.zeros(1000, np.float32), "fb"),
        ]
        self.nodes += [
            helper.make_node("GlobalAveragePool", [x], ["g"]),
            helper.make_node("Flatten", ["g"], ["f"]),
            helper.make_node("Gemm", ["f", "fw", "fb"], ["y"]),
        ]
        high = self.values[x].hi
        ratio = np.full(channels, 255 / high / (height * width))
        pooled = self.builder.sum_pool(self.values[x], requantize(ratio, 0, 255))
        levels = np.rint(w.T / np.abs(w).max() * 127).astype(np.int8)
        self.builder.output(self.builder.dense(pooled, levels, Raw()))

    def finish(self, threads: int) -> tuple[OnnxSession, Plan]:
        """Return the float session and the plan."""
        graph = helper.make_graph(
            self.nodes,
            "network",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 224, 224])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 1000])],
            self.constants,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        session = OnnxSession(model.SerializeToString(), threads=threads, fast=True)
        return session, self.builder.build()


def requantize(ratio: npt.NDArray[np.float64], low: int, high: int) -> Requantize:
    """Return the stage that multiplies accumulators by a ratio, per channel."""
    mantissa, exponent = np.frexp(ratio)
    multiplier = np.minimum(np.rint(mantissa * 2**24), 2**24 - 1).astype(np.int64)
    n = ratio.size
    return Requantize(
        bias=np.zeros(n, np.int64),
        multiplier=multiplier,
        shift=(24 - exponent).astype(np.int64),
        lo=np.full(n, low, np.int64),
        hi=np.full(n, high, np.int64),
    )


def resnet(depth: int, bits: int) -> Network:
    """Build ResNet-18 or ResNet-50."""
    net = Network(bits)
    x = net.max_pool(net.conv(net.input(), 64, 7, 2, activation="relu"))
    for stage, blocks in enumerate({18: (2, 2, 2, 2), 50: (3, 4, 6, 3)}[depth]):
        for block in range(blocks):
            stride = 2 if stage and block == 0 else 1
            inner = 64 * 2**stage
            outer = inner * (4 if depth == 50 else 1)
            if depth == 50:
                y = net.conv(x, inner, 1, activation="relu")
                y = net.conv(y, inner, 3, stride, activation="relu")
                y = net.conv(y, outer, 1)
            else:
                y = net.conv(net.conv(x, inner, 3, stride, activation="relu"), outer, 3)
            same = net.values[x].shape == net.values[y].shape
            x = net.add(y, x if same else net.conv(x, outer, 1, stride), relu=True)
    net.head(x)
    return net


def resnet18(bits: int) -> Network:
    """Build ResNet-18."""
    return resnet(18, bits)


def resnet50(bits: int) -> Network:
    """Build ResNet-50."""
    return resnet(50, bits)


def lite0(bits: int) -> Network:
    """Build EfficientNet-Lite0."""
    net = Network(bits)
    x = net.conv(net.input(), 32, 3, 2, activation="relu6")
    for expand, outputs, repeat, stride, kernel in (
        (1, 16, 1, 1, 3),
        (6, 24, 2, 2, 3),
        (6, 40, 2, 2, 5),
        (6, 80, 3, 2, 3),
        (6, 112, 3, 1, 5),
        (6, 192, 4, 2, 5),
        (6, 320, 1, 1, 3),
    ):
        for block in range(repeat):
            channels = net.values[x].shape[0]
            y = net.conv(x, channels * expand, 1, activation="relu6") if expand > 1 else x
            step = stride if block == 0 else 1
            y = net.conv(y, channels * expand, kernel, step, depthwise=True, activation="relu6")
            y = net.conv(y, outputs, 1)
            x = net.add(y, x, relu=False) if block else y
    net.head(net.conv(x, 1280, 1, activation="relu6"))
    return net


def main() -> None:
    """Print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    builders: dict[str, Callable[[int], Network]] = {
        "resnet18": resnet18,
        "resnet50": resnet50,
        "lite0": lite0,
    }
    parser.add_argument("--networks", nargs="+", default=list(builders), choices=list(builders))
    parser.add_argument("--bits", nargs="+", type=int, default=[8, 4])
    parser.add_argument("--batches", nargs="+", type=int, default=[8, 1])
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cpu", action="store_true", help="compare processor time")
    parser.add_argument("--proofs", action="store_true", help="print how each layer runs")
    arguments = parser.parse_args()
    clock = time.process_time if arguments.cpu else time.perf_counter
    for name in arguments.networks:
        for bits in arguments.bits:
            session, plan = builders[name](bits).finish(arguments.threads)
            if arguments.proofs:
                for proof in plan.proofs:
                    print(f"  {proof.name}: {proof.reason}")
            for batch in arguments.batches:
                rng = np.random.default_rng(1)
                image = rng.integers(-128, 128, (batch, 3, 224, 224)).astype(np.int8)
                feed = {"x": image.astype(np.float32) / np.float32(32)}
                times = np.zeros((arguments.pairs + 2, 2))
                for pair in times:
                    start = clock()
                    session.run(feed)
                    pair[0] = clock() - start
                    time.sleep(0.1)  # the session's threads spin for a while after a run
                    start = clock()
                    plan.run([image], threads=arguments.threads)
                    pair[1] = clock() - start
                kept = times[2:] * 1000
                print(
                    f"{name} {bits}-bit batch {batch}: float {np.median(kept[:, 0]):.1f} ms, "
                    f"native {np.median(kept[:, 1]):.1f} ms, "
                    f"ratio {np.median(kept[:, 0] / kept[:, 1]):.2f}, "
                    f"of least times {kept[:, 0].min():.1f} / {kept[:, 1].min():.1f} = "
                    f"{kept[:, 0].min() / kept[:, 1].min():.2f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
