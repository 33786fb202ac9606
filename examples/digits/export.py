"""Write the trained network as ONNX, batch norms kept, so that folding them is real work."""

from __future__ import annotations

from typing import TYPE_CHECKING

import layers
import onnx
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Sequence


def to_onnx(network: Sequence[layers.Layer], classes: int) -> onnx.ModelProto:
    """Return the network from ``x`` (N,1,8,8) to ``logits`` (N,classes)."""
    nodes: list[onnx.NodeProto] = []
    constants: list[onnx.TensorProto] = []
    counts: dict[str, int] = {}
    value = "x"

    def add(op: str, arrays: dict[str, layers.F32], **attributes: float | list[int]) -> None:
        nonlocal value
        counts[op] = counts.get(op, 0) + 1
        name = f"{op.lower()}{counts[op]}"
        for suffix, array in arrays.items():
            constants.append(numpy_helper.from_array(array, f"{name}.{suffix}"))
        inputs = [value, *(f"{name}.{suffix}" for suffix in arrays)]
        value = "logits" if op == "Gemm" else f"{name}.out"
        nodes.append(helper.make_node(op, inputs, [value], name))
        nodes[-1].attribute.extend(helper.make_attribute(k, v) for k, v in attributes.items())

    for layer in network:
        match layer:
            case layers.Conv():
                add("Conv", {"weight": layer.weight.value}, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
            case layers.BatchNorm():
                arrays = {
                    "scale": layer.scale.value,
                    "bias": layer.shift.value,
                    "mean": layer.mean,
                    "variance": layer.variance,
                }
                add("BatchNormalization", arrays, epsilon=float(layer.epsilon))
            case layers.Relu():
                add("Relu", {})
            case layers.MaxPool():
                add("MaxPool", {}, kernel_shape=[2, 2], strides=[2, 2])
            case layers.Dense():
                add("Flatten", {}, axis=1)
                arrays = {"weight": layer.weight.value, "bias": layer.bias.value}
                add("Gemm", arrays, transB=1)
            case _:
                raise TypeError(f"no ONNX operator for {type(layer).__name__}")
    graph = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 1, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", classes])],
        constants,
    )
    opset = helper.make_opsetid("", 17)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=8, producer_name="lowbitc")
    return onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
