"""Models with QuantizeLinear and DequantizeLinear, made node by node, and how they are run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import ModelProto, NodeProto, helper, numpy_helper

from lowbitc.compilation import Compilation, compile_with
from lowbitc.compiler.onnx_session import OnnxSession
from lowbitc.options import settle
from lowbitc.targets.engines.simulator import Simulator
from tests.frontend.models import info

if TYPE_CHECKING:
    from lowbitc.compiler.elements import Array, Float32


class Net:
    """A model in the QDQ format; every call returns the value it made."""

    def __init__(self, seed: int = 0) -> None:
        self.random = np.random.default_rng(seed)
        self.nodes: list[NodeProto] = []
        self.held: dict[str, Array] = {}
        self.opset = 21
        self.domains: set[str] = set()
        self.scales: dict[str, Array] = {}

    def const(self, array: Array) -> str:
        name = f"c{len(self.held)}"
        self.held[name] = array
        return name

    def put(self, op: str, *inputs: str, domain: str = "", **attributes: Any) -> str:  # noqa: ANN401 - any
        name = f"{op}{len(self.nodes)}"
        self.domains.add(domain)
        made = helper.make_node(op, inputs, [f"{name}_out"], name=name, domain=domain, **attributes)
        self.nodes.append(made)
        return f"{name}_out"

    def quantized(self, x: str, scale: float, zero: int = 0, dtype: str = "int8") -> str:
        """Put a value through QuantizeLinear and DequantizeLinear."""
        s = self.const(np.asarray(scale, np.float32))
        z = self.const(np.asarray(zero, dtype))
        made = self.put("DequantizeLinear", self.put("QuantizeLinear", x, s, z), s, z)
        self.scales[made] = self.held[s]
        return made

    def weights(self, *shape: int, top: int = 127) -> str:
        """Make integer weights with a scale an output channel, behind a DequantizeLinear."""
        levels = self.random.integers(-top, top + 1, shape).astype(np.int8)
        levels.reshape(shape[0], -1)[:, 0] = top
        fan_in = int(np.prod(shape[1:]))
        scales = self.random.uniform(0.5, 1.5, shape[0]) / (top * fan_in**0.5)
        s = self.const(scales.astype(np.float32))
        made = self.put("DequantizeLinear", self.const(levels), s, axis=0)
        self.scales[made] = self.held[s]
        return made

    def bias(self, x: str, w: str) -> str:
        """Make a bias of 32-bit integers in the unit of the sums."""
        scale = self.scales.get(x, np.asarray(0.02, np.float32))
        unit = np.multiply(scale, self.scales[w], dtype=np.float32)
        levels = np.rint(self.random.normal(0, 0.2, unit.shape) / unit).astype(np.int32)
        return self.put("DequantizeLinear", self.const(levels), self.const(unit), axis=0)

    def conv(self, x: str, out: int, inward: int, **attributes: Any) -> str:  # noqa: ANN401 - any
        kernel = attributes.setdefault("kernel_shape", [3, 3])
        groups = attributes.get("group", 1)
        weights = self.weights(out, inward // groups, *kernel)
        return self.put("Conv", x, weights, self.bias(x, weights), **attributes)

    def model(self, output: str, *shape: int) -> ModelProto:
        graph = helper.make_graph(
            self.nodes,
            "net",
            [info("x", *(shape or (1, 3, 8, 8)))],
            [helper.make_empty_tensor_value_info(output)],
            [numpy_helper.from_array(array, name) for name, array in self.held.items()],
        )
        imports = [helper.make_opsetid("", self.opset)]
        imports += [helper.make_opsetid(d, 1) for d in sorted(self.domains - {""})]
        return helper.make_model(graph, opset_imports=imports, ir_version=10)


def residual_model(low: str = "int8") -> ModelProto:
    """Conv, ReLU, depthwise, Add of two branches, max pool, mean, dense: all between quantizers."""
    net = Net(3)
    x = net.quantized("x", 0.02)
    stem = net.quantized(net.put("Relu", net.conv(x, 8, 3, pads=[1, 1, 1, 1])), 0.0193, dtype=low)
    deep = net.conv(stem, 8, 8, pads=[1, 1, 1, 1], group=8)
    deep = net.quantized(net.put("Relu", deep), 0.0149, dtype=low)
    thin = net.quantized(net.conv(deep, 8, 8, kernel_shape=[1, 1]), 0.0307)
    side = net.quantized(net.conv(stem, 8, 8, kernel_shape=[1, 1]), 0.0251)
    joined = net.quantized(net.put("Relu", net.put("Add", thin, side)), 0.0311, dtype=low)
    pooled = net.put("MaxPool", joined, kernel_shape=[2, 2], strides=[2, 2])
    pooled = net.quantized(pooled, 0.0311, dtype=low)
    mean = net.quantized(net.put("GlobalAveragePool", pooled), 0.0097, dtype=low)
    flat = net.quantized(net.put("Flatten", mean), 0.0097, dtype=low)
    dense = net.put("Gemm", flat, net.weights(10, 8), transB=1)
    return net.model(net.quantized(dense, 0.0103))


def compiled(proto: ModelProto) -> Compilation:
    return compile_with(proto, settle(None, threads=1, offload="all"))


def run_program(made: Compilation, x: Float32) -> Float32:
    """Return the program's output for samples [n, …]."""
    program = made.program
    found = Simulator(program, threads=1).run({program.inputs[0].name: x})
    return np.asarray(found[program.outputs[0].name], np.float32)


def run_onnx(proto: ModelProto, x: Float32) -> Float32:
    """Return what ONNX Runtime gives, node by node in float32, as the model says."""
    session = OnnxSession(proto.SerializeToString(), threads=1)
    parts = [session.run({"x": x[i : i + 1]}) for i in range(len(x))]
    return np.concatenate([np.asarray(next(iter(part.values())), np.float32) for part in parts])


def on_host(made: Compilation) -> dict[str, str]:
    """Return why each node of a program is on the CPU."""
    return {n.name: n.reason for step in made.program.host_steps for n in step.nodes}
