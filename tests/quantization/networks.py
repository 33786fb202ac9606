"""Small folded networks with seeded weights, to quantize."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypedDict

import numpy as np

from lowbitc.compiler.diagnostics import Source
from lowbitc.compiler.elements import F32
from lowbitc.compiler.ir import ops
from lowbitc.compiler.ir.graph import Graph, Stage
from lowbitc.compiler.ir.types import TensorType

if TYPE_CHECKING:
    from lowbitc.compiler.elements import Array
    from lowbitc.compiler.ir.node import Node


class Common(TypedDict):
    """The fields that all nodes share."""

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    sources: tuple[Source, ...]


@dataclass
class Builder:
    """Builds a folded graph node by node; each call returns the value it made."""

    input_shape: tuple[int, ...]
    seed: int = 0
    nodes: list[Node] = field(default_factory=list["Node"])
    types: dict[str, TensorType] = field(default_factory=dict[str, TensorType])
    constants: dict[str, Array] = field(default_factory=dict[str, "Array"])

    def __post_init__(self) -> None:
        """Seed the weights and declare the input."""
        self.random = np.random.default_rng(self.seed)
        self.types["x"] = TensorType(self.input_shape, F32)

    def constant(self, name: str, array: Array) -> str:
        self.constants[name] = np.asarray(array, np.float32)
        self.types[name] = TensorType(array.shape, F32)
        return name

    def put(self, node: Node, shape: tuple[int, ...]) -> str:
        self.nodes.append(node)
        self.types[node.outputs[0]] = TensorType(shape, F32)
        return node.outputs[0]

    def base(self, op: str, *inputs: str) -> Common:
        name = f"{op}{len(self.nodes)}"
        outputs, sources = (f"{name}_out",), (Source(name, op),)
        return Common(name=name, inputs=inputs, outputs=outputs, sources=sources)

    def conv(
        self, x: str, channels: int, kernel: int = 3, stride: int = 1, groups: int = 1, pad: int = 1
    ) -> str:
        frames, inward, high, wide = self.types[x].dims
        fan_in = inward // groups * kernel**2
        count = len(self.nodes)
        w = self.random.normal(0, (2 / fan_in) ** 0.5, (channels, inward // groups, kernel, kernel))
        size = [(n + 2 * pad - kernel) // stride + 1 for n in (high, wide)]
        return self.put(
            ops.Conv(
                **self.base(
                    "Conv",
                    x,
                    self.constant(f"w{count}", w),
                    self.constant(f"b{count}", self.random.normal(0, 0.1, channels)),
                ),
                kernel=(kernel, kernel),
                stride=(stride, stride),
                dilation=(1, 1),
                pads=(pad,) * 4,
                groups=groups,
            ),
            (frames, channels, *size),
        )

    def dense(self, x: str, units: int) -> str:
        *front, inward = self.types[x].dims
        count = len(self.nodes)
        w = self.random.normal(0, (1 / inward) ** 0.5, (units, inward))
        return self.put(
            ops.Dense(
                **self.base(
                    "Dense",
                    x,
                    self.constant(f"w{count}", w),
                    self.constant(f"b{count}", self.random.normal(0, 0.1, units)),
                )
            ),
            (*front, units),
        )

    def relu(self, x: str) -> str:
        return self.put(ops.Relu(**self.base("Relu", x)), self.types[x].dims)

    def silu(self, x: str) -> str:
        return self.put(ops.Silu(**self.base("Silu", x)), self.types[x].dims)

    def scale_shift(self, x: str, scale: Array, shift: Array) -> str:
        count = len(self.nodes)
        inputs = (x, self.constant(f"a{count}", scale), self.constant(f"s{count}", shift))
        return self.put(ops.ScaleShift(**self.base("ScaleShift", *inputs)), self.types[x].dims)

    def add(self, a: str, b: str) -> str:
        return self.put(ops.Add(**self.base("Add", a, b)), self.types[a].dims)

    def concat(self, *values: str) -> str:
        frames, _, *rest = self.types[values[0]].dims
        channels = sum(self.types[v].dims[1] for v in values)
        return self.put(
            ops.Concat(**self.base("Concat", *values), axis=1), (frames, channels, *rest)
        )

    def max_pool(self, x: str) -> str:
        frames, channels, high, wide = self.types[x].dims
        return self.put(
            ops.MaxPool(
                **self.base("MaxPool", x),
                kernel=(2, 2),
                stride=(2, 2),
                dilation=(1, 1),
                pads=(0,) * 4,
            ),
            (frames, channels, high // 2, wide // 2),
        )

    def mean(self, x: str) -> str:
        frames, channels, *_ = self.types[x].dims
        return self.put(
            ops.GlobalAveragePool(**self.base("GlobalAveragePool", x)), (frames, channels, 1, 1)
        )

    def flat(self, x: str) -> str:
        frames, *rest = self.types[x].dims
        shape = (frames, int(np.prod(rest)))
        return self.put(ops.Reshape(**self.base("Reshape", x), shape=shape), shape)

    def graph(self, *outputs: str) -> Graph:
        return Graph(
            name="net",
            inputs=("x",),
            outputs=outputs,
            nodes=tuple(self.nodes),
            types=self.types,
            constants=self.constants,
            opset=17,
            stage=Stage.FOLDED,
        )


def residual_network(seed: int = 0) -> Graph:
    """Stem, inverted residual with a depthwise layer, a pool, a dense layer of logits."""
    net = Builder((1, 3, 12, 12), seed)
    stem = net.relu(net.conv("x", 8))
    wide = net.relu(net.conv(stem, 16, kernel=1, pad=0))
    deep = net.relu(net.conv(wide, 16, groups=16))
    thin = net.conv(deep, 8, kernel=1, pad=0)
    trunk = net.conv(stem, 8, kernel=1, pad=0)
    joined = net.add(thin, trunk)
    after = net.relu(net.conv(joined, 12, stride=2))
    return net.graph(net.dense(net.flat(net.mean(after)), 10))


def samples(count: int = 16, shape: tuple[int, ...] = (1, 3, 12, 12)) -> list[dict[str, Array]]:
    """Return smooth random inputs, one a sample."""
    random = np.random.default_rng(7)
    return [{"x": random.normal(0, 1, shape).astype(np.float32)} for _ in range(count)]
