"""Float graphs in few lines: a builder that keeps types, names and sources."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from lowbitc.compiler.diagnostics import Source
from lowbitc.compiler.elements import F32
from lowbitc.compiler.ir import ops
from lowbitc.compiler.ir.graph import Graph, fresh_name
from lowbitc.compiler.ir.types import TensorType

if TYPE_CHECKING:
    from lowbitc.compiler.elements import Array, Float32
    from lowbitc.compiler.ir.node import Node
    from lowbitc.compiler.ir.types import ValueType


class Net:
    """A network under construction; every method adds a node and returns its output's name."""

    def __init__(self, *shape: int, seed: int = 0) -> None:
        """Start with one input ``x`` of the given shape."""
        self.random = np.random.default_rng(seed)
        self.inputs: list[str] = []
        self.nodes: list[Node] = []
        self.constants: dict[str, Array] = {}
        self.types: dict[str, ValueType] = {}
        self.x = self.input(*shape)

    def graph(self, *outputs: str) -> Graph:
        """Return the network as it is."""
        return Graph(
            name="net",
            inputs=tuple(self.inputs),
            outputs=outputs,
            nodes=tuple(self.nodes),
            constants=dict(self.constants),
            types=dict(self.types),
        )

    def shape(self, value: str) -> tuple[int, ...]:
        """Return the shape of a value."""
        held = self.types[value]
        assert isinstance(held, TensorType)
        return held.dims

    def input(self, *shape: int) -> str:
        """Add an input."""
        name = fresh_name("x", self.types)
        self.inputs.append(name)
        self.types[name] = TensorType(shape, F32)
        return name

    def constant(self, array: Array, name: str = "constant") -> str:
        """Add a constant."""
        name = fresh_name(name, self.types)
        self.constants[name] = array
        self.types[name] = TensorType(array.shape, F32)
        return name

    def normal(self, *shape: int) -> Float32:
        """Draw an array."""
        return self.random.normal(size=shape).astype(np.float32)

    def node(
        self,
        operator: type[Node],
        inputs: tuple[str, ...],
        dims: tuple[int, ...],
        **fields: object,
    ) -> str:
        """Add any node with one output of the given shape."""
        name = f"{operator.op}_{len(self.nodes)}"
        output = f"{name}:0"
        self.types[output] = TensorType(dims, F32)
        self.nodes.append(
            operator(
                name=name,
                inputs=inputs,
                outputs=(output,),
                sources=(Source(f"/{name}", operator.op),),
                **fields,
            )
        )
        return output

    def same(self, operator: type[Node], *inputs: str, **fields: object) -> str:
        """Add a node whose output has the shape of its first input."""
        return self.node(operator, inputs, self.shape(inputs[0]), **fields)

    def conv(
        self,
        x: str,
        outputs: int,
        kernel: int = 3,
        *,
        stride: int = 1,
        pads: int | tuple[int, ...] = 0,
        groups: int = 1,
        bias: bool = True,
        weights: str = "",
    ) -> str:
        """Add a convolution with random weights, or the constant ``weights``."""
        shape = self.shape(x)
        rank = len(shape) - 2
        around = (pads,) * (2 * rank) if isinstance(pads, int) else pads
        drawn = self.normal(outputs, shape[1] // groups, *(kernel,) * rank)
        inputs = [x, weights or self.constant(drawn / math.sqrt(drawn[0].size), "w")]
        if bias:
            inputs.append(self.constant(self.normal(outputs), "b"))
        return self.node(
            ops.Conv,
            tuple(inputs),
            (shape[0], outputs, *_windows(shape[2:], kernel, stride, around)),
            kernel=(kernel,) * rank,
            stride=(stride,) * rank,
            dilation=(1,) * rank,
            pads=around,
            groups=groups,
        )

    def conv_transpose(
        self, x: str, outputs: int, *, stride: int = 2, groups: int = 1, bias: bool = True
    ) -> str:
        """Add a 2-D transposed convolution with 3x3 kernels and padding 1."""
        n, channels, height, width = self.shape(x)
        inputs = [x, self.constant(self.normal(channels, outputs // groups, 3, 3), "w")]
        if bias:
            inputs.append(self.constant(self.normal(outputs), "b"))
        size = tuple((s - 1) * stride + 1 for s in (height, width))
        return self.node(
            ops.ConvTranspose,
            tuple(inputs),
            (n, outputs, *size),
            kernel=(3, 3),
            stride=(stride, stride),
            dilation=(1, 1),
            pads=(1, 1, 1, 1),
            output_padding=(0, 0),
            groups=groups,
        )

    def dense(self, x: str, outputs: int, *, bias: bool = True) -> str:
        """Add a dense layer."""
        *head, features = self.shape(x)
        inputs = [x, self.constant(self.normal(outputs, features), "w")]
        if bias:
            inputs.append(self.constant(self.normal(outputs), "b"))
        return self.node(ops.Dense, tuple(inputs), (*head, outputs))

    def matmul(self, x: str, outputs: int) -> str:
        """Add a product with a constant matrix on the right."""
        *head, features = self.shape(x)
        weights = self.constant(self.normal(features, outputs), "w")
        return self.node(ops.MatMul, (x, weights), (*head, outputs))

    def batch_norm(self, x: str, *, positive: bool = False, shift: bool = True) -> str:
        """Add a batch norm; gains have both signs unless ``positive``."""
        channels = self.shape(x)[1]
        gain = self.normal(channels) + np.float32(0.1)
        mean, offset = (self.normal(channels) * np.float32(shift) for _ in range(2))
        variance = self.random.uniform(0.2, 3, channels).astype(np.float32)
        arrays = (np.abs(gain) if positive else gain, offset, mean, variance)
        names = ("gamma", "beta", "mean", "variance")
        constants = [self.constant(a, n) for a, n in zip(arrays, names, strict=True)]
        return self.same(ops.BatchNorm, x, *constants, epsilon=1e-5)

    def relu(self, x: str) -> str:
        """Add a ReLU."""
        return self.same(ops.Relu, x)

    def clamp(self, x: str, low: float = 0.0, high: float = 6.0) -> str:
        """Add a clip."""
        return self.same(ops.Clamp, x, low=low, high=high)

    def with_constant(self, operator: type[Node], x: str, array: Array) -> str:
        """Add x ∘ constant."""
        return self.same(operator, x, self.constant(np.asarray(array, np.float32)))

    def pool(
        self,
        operator: type[Node],
        x: str,
        kernel: int = 2,
        *,
        stride: int = 0,
        pads: int | tuple[int, ...] = 0,
        **fields: object,
    ) -> str:
        """Add a MaxPool or AveragePool."""
        shape = self.shape(x)
        rank = len(shape) - 2
        around = (pads,) * (2 * rank) if isinstance(pads, int) else pads
        step = stride or kernel
        return self.node(
            operator,
            (x,),
            (*shape[:2], *_windows(shape[2:], kernel, step, around)),
            kernel=(kernel,) * rank,
            stride=(step,) * rank,
            dilation=(1,) * rank,
            pads=around,
            **fields,
        )

    def global_average(self, x: str) -> str:
        """Add a GlobalAveragePool."""
        shape = self.shape(x)
        return self.node(ops.GlobalAveragePool, (x,), (*shape[:2], *(1,) * (len(shape) - 2)))

    def pad(self, x: str, pads: tuple[int, ...], value: float = 0.0, mode: str = "constant") -> str:
        """Add a Pad; begins, then ends, of every axis."""
        shape = self.shape(x)
        rank = len(shape)
        sizes = tuple(shape[i] + pads[i] + pads[i + rank] for i in range(rank))
        return self.node(ops.Pad, (x,), sizes, pads=pads, value=value, mode=mode)

    def reshape(self, x: str, *sizes: int) -> str:
        """Add a Reshape to a full shape."""
        return self.node(ops.Reshape, (x,), sizes, shape=sizes)

    def transpose(self, x: str, *perm: int) -> str:
        """Add a Transpose."""
        shape = self.shape(x)
        return self.node(ops.Transpose, (x,), tuple(shape[p] for p in perm), perm=perm)

    def concat(self, *values: str, axis: int = 1) -> str:
        """Add a Concat."""
        shape = list(self.shape(values[0]))
        shape[axis] = sum(self.shape(v)[axis] for v in values)
        return self.node(ops.Concat, values, tuple(shape), axis=axis)

    def add(self, left: str, right: str) -> str:
        """Add the sum of two values."""
        return self.same(ops.Add, left, right)


def _windows(
    sizes: tuple[int, ...], kernel: int, stride: int, pads: tuple[int, ...]
) -> tuple[int, ...]:
    rank = len(sizes)
    return tuple((sizes[i] + pads[i] + pads[i + rank] - kernel) // stride + 1 for i in range(rank))
