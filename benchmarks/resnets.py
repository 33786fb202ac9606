"""ResNet-18 and ResNet-50 with batch norm and seeded weights, as float ONNX models."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    import numpy.typing as npt

BLOCKS = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3)}
_OPSET = 17


@dataclass
class _Network:
    """Nodes and weights so far; each method returns the name of what it made."""

    random: np.random.Generator
    nodes: list[onnx.NodeProto] = field(default_factory=list[onnx.NodeProto])
    weights: list[onnx.TensorProto] = field(default_factory=list[onnx.TensorProto])

    def weight(self, array: npt.NDArray[np.floating]) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(array.astype(np.float32), name))
        return name

    def node(self, op: str, *inputs: str, **attributes: object) -> str:
        name = f"{op.lower()}{len(self.nodes)}"
        self.nodes.append(
            helper.make_node(op, list(inputs), [f"{name}_out"], name=name, **attributes)
        )
        return f"{name}_out"

    def conv(self, x: str, inward: int, outward: int, kernel: int, stride: int) -> str:
        """Convolve and normalise."""
        scale = (2 / (inward * kernel**2)) ** 0.5
        w = self.random.normal(0, scale, (outward, inward, kernel, kernel))
        made = self.node("Conv", x, self.weight(w), strides=[stride] * 2, pads=[kernel // 2] * 4)
        parts = (
            self.random.uniform(0.6, 1.0, outward),
            self.random.normal(0, 0.1, outward),
            self.random.normal(0, 0.1, outward),
            self.random.uniform(0.6, 1.4, outward),
        )
        return self.node("BatchNormalization", made, *(self.weight(p) for p in parts))

    def block(self, x: str, inward: int, width: int, stride: int, *, deep: bool) -> str:
        """Add a residual block: two 3x3 layers, or 1x1, 3x3, 1x1 to four times the width."""
        outward = 4 * width if deep else width
        if deep:
            y = self.node("Relu", self.conv(x, inward, width, 1, 1))
            y = self.node("Relu", self.conv(y, width, width, 3, stride))
            y = self.conv(y, width, outward, 1, 1)
        else:
            y = self.node("Relu", self.conv(x, inward, width, 3, stride))
            y = self.conv(y, width, width, 3, 1)
        if inward != outward or stride != 1:
            x = self.conv(x, inward, outward, 1, stride)
        return self.node("Relu", self.node("Add", y, x))


def resnet(depth: int, seed: int = 0) -> onnx.ModelProto:
    """Build ResNet-18 or ResNet-50 for images [N,3,224,224] and 1000 classes."""
    net = _Network(np.random.default_rng(seed))
    x = net.node("Relu", net.conv("x", 3, 64, 7, 2))
    x = net.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    channels, deep = 64, depth == 50
    for stage, count in enumerate(BLOCKS[depth]):
        width = 64 * 2**stage
        for index in range(count):
            stride = 2 if stage and not index else 1
            x = net.block(x, channels, width, stride, deep=deep)
            channels = 4 * width if deep else width
    x = net.node("Flatten", net.node("GlobalAveragePool", x))
    w = net.weight(net.random.normal(0, 0.02, (channels, 1000)))
    net.nodes.append(helper.make_node("Gemm", [x, w], ["scores"], name="gemm"))
    images = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 224, 224])
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", 1000])
    graph = helper.make_graph(net.nodes, f"resnet{depth}", [images], [scores], net.weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=8)
