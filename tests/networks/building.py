"""Write small ONNX models node by node, with seeded weights."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Array = npt.NDArray[Any]

_KINDS = {"float32": TensorProto.FLOAT, "int64": TensorProto.INT64}


@dataclass
class Model:
    """An ONNX model in the making; each call returns the name of the value it made."""

    seed: int = 0
    opset: int = 17
    nodes: list[onnx.NodeProto] = field(default_factory=list[onnx.NodeProto])
    inputs: list[onnx.ValueInfoProto] = field(default_factory=list[onnx.ValueInfoProto])
    weights: list[onnx.TensorProto] = field(default_factory=list[onnx.TensorProto])

    def __post_init__(self) -> None:
        """Seed the weights."""
        self.random = np.random.default_rng(self.seed)

    def input(self, name: str, *shape: int | str, kind: str = "float32") -> str:
        self.inputs.append(helper.make_tensor_value_info(name, _KINDS[kind], shape))
        return name

    def constant(self, array: npt.ArrayLike) -> str:
        held: Array = np.asarray(array)
        held = held.astype(np.float32) if held.dtype.kind == "f" else held.astype(np.int64)
        name = f"c{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(held, name))
        return name

    def normal(self, *shape: int, spread: float = 1.0) -> str:
        return self.constant(self.random.normal(0, spread, shape))

    def add(self, op: str, *inputs: str, outputs: int = 1, **attributes: object) -> str:
        return self.several(op, *inputs, outputs=outputs, **attributes)[0]

    def several(
        self, op: str, *inputs: str, outputs: int = 1, **attributes: object
    ) -> tuple[str, ...]:
        name = f"{op.lower()}{len(self.nodes)}"
        made = (name, *(f"{name}_{i}" for i in range(1, outputs)))
        node = helper.make_node(op, inputs, made, name=f"/{name}")
        node.attribute.extend(helper.make_attribute(k, v) for k, v in attributes.items())
        self.nodes.append(node)
        return made

    # --- layers ----------------------------------------------------------------------------------

    def conv(
        self,
        x: str,
        inward: int,
        outward: int,
        kernel: Sequence[int] = (3, 3),
        *,
        stride: int = 1,
        pad: int = 1,
        groups: int = 1,
    ) -> str:
        fan_in = inward // groups * int(np.prod(kernel))
        weights = self.normal(outward, inward // groups, *kernel, spread=(2 / fan_in) ** 0.5)
        return self.add(
            "Conv",
            x,
            weights,
            self.normal(outward, spread=0.1),
            kernel_shape=list(kernel),
            strides=[stride] * len(kernel),
            pads=[pad] * (2 * len(kernel)),
            group=groups,
        )

    def dense(self, x: str, inward: int, outward: int) -> str:
        weights = self.normal(outward, inward, spread=inward**-0.5)
        return self.add("Gemm", x, weights, self.normal(outward, spread=0.1), transB=1)

    def product(self, x: str, inward: int, outward: int) -> str:
        matrix = self.normal(inward, outward, spread=inward**-0.5)
        return self.add("Add", self.add("MatMul", x, matrix), self.normal(outward, spread=0.1))

    def batch_norm(self, x: str, channels: int, *, signs: bool = False) -> str:
        scale = self.random.uniform(0.5, 1.5, channels)
        if signs:
            scale *= np.where(np.arange(channels) % 2, -1, 1)
        shift, mean = (self.random.normal(0, 0.3, channels) for _ in range(2))
        variance = self.random.uniform(0.5, 2, channels)
        held = [self.constant(v) for v in (scale, shift, mean, variance)]
        return self.add("BatchNormalization", x, *held)

    def relu(self, x: str) -> str:
        return self.add("Relu", x)

    def relu6(self, x: str) -> str:
        return self.add("Clip", x, self.constant(np.float32(0)), self.constant(np.float32(6)))

    def silu(self, x: str) -> str:
        return self.add("Mul", x, self.add("Sigmoid", x))

    def gelu(self, x: str) -> str:
        inner = self.add("Erf", self.add("Div", x, self.constant(np.float32(2**0.5))))
        shifted = self.add("Add", inner, self.constant(np.float32(1)))
        return self.add("Mul", self.add("Mul", x, shifted), self.constant(np.float32(0.5)))

    def layer_norm(self, x: str, width: int) -> str:
        scale = self.constant(self.random.uniform(0.5, 1.5, width))
        return self.add("LayerNormalization", x, scale, self.normal(width, spread=0.1), axis=-1)

    def reshape(self, x: str, *shape: int) -> str:
        return self.add("Reshape", x, self.constant(list(shape)))

    def cut(self, x: str, axis: int, start: int, end: int, step: int = 1) -> str:
        held = [self.constant([v]) for v in (start, end, axis, step)]
        return self.add("Slice", x, *held)

    def twice(self, x: str) -> str:
        scales = self.constant([1.0, 1.0, 2.0, 2.0])
        return self.add(
            "Resize",
            x,
            "",
            scales,
            mode="nearest",
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        )

    def done(self, *outputs: str) -> onnx.ModelProto:
        made = [helper.make_tensor_value_info(v, TensorProto.FLOAT, None) for v in outputs]
        graph = helper.make_graph(self.nodes, "net", self.inputs, made, self.weights)
        opsets = [helper.make_opsetid("", self.opset)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8)
