"""Write activation functions, decomposed where the operator set lacks them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from lowbitc.compiler.export.operators import write
from lowbitc.compiler.ir import ops

if TYPE_CHECKING:
    from lowbitc.compiler.export.writer import Attribute, Writer

_BOUNDS_ARE_INPUTS = 11
_ONE_AXIS = 13
_HARD_SWISH = 14
_GELU = 20


@write.register(ops.Clamp)
def _clamp(node: ops.Clamp, to: Writer) -> None:
    if to.opset >= _BOUNDS_ARE_INPUTS:
        low = "" if node.low == -math.inf else to.scalar(node, "low", node.low)
        high = "" if node.high == math.inf else to.scalar(node, "high", node.high)
        inputs = [node.inputs[0], low, high]
        while not inputs[-1]:
            inputs.pop()
        to.emit(node, "Clip", inputs)
        return
    bounds: dict[str, Attribute] = {}
    if node.low != -math.inf:
        bounds["min"] = node.low
    if node.high != math.inf:
        bounds["max"] = node.high
    to.emit(node, "Clip", node.inputs, **bounds)


@write.register(ops.LeakyRelu)
def _leaky_relu(node: ops.LeakyRelu, to: Writer) -> None:
    to.emit(node, "LeakyRelu", node.inputs, alpha=node.alpha)


@write.register(ops.Elu)
def _elu(node: ops.Elu, to: Writer) -> None:
    to.emit(node, "Elu", node.inputs, alpha=node.alpha)


@write.register(ops.HardSigmoid)
def _hard_sigmoid(node: ops.HardSigmoid, to: Writer) -> None:
    to.emit(node, "HardSigmoid", node.inputs, alpha=node.alpha, beta=node.beta)


@write.register(ops.HardSwish)
def _hard_swish(node: ops.HardSwish, to: Writer) -> None:
    if to.opset >= _HARD_SWISH:
        to.emit(node, "HardSwish", node.inputs)
        return
    gate = to.step(node, "HardSigmoid", node.inputs, alpha=1 / 6, beta=0.5)
    to.emit(node, "Mul", (node.inputs[0], gate))


@write.register(ops.Silu)
def _silu(node: ops.Silu, to: Writer) -> None:
    to.emit(node, "Mul", (node.inputs[0], to.step(node, "Sigmoid", node.inputs)))


@write.register(ops.Gelu)
def _gelu(node: ops.Gelu, to: Writer) -> None:
    x = node.inputs[0]
    if to.opset >= _GELU:
        to.emit(node, "Gelu", node.inputs, approximate="tanh" if node.tanh else "none")
        return
    if node.tanh:
        # tanh(√(2/π) · (x + 0.044715 x³)), Hendrycks and Gimpel, arXiv:1606.08415
        square = to.step(node, "Mul", (x, x))
        cube = to.step(node, "Mul", (square, x))
        small = to.step(node, "Mul", (cube, to.scalar(node, "cubic", 0.044715)))
        inner = to.step(node, "Add", (x, small))
        root = to.scalar(node, "root", math.sqrt(2 / math.pi))
        curve = to.step(node, "Tanh", (to.step(node, "Mul", (inner, root)),))
    else:
        root = to.scalar(node, "root", math.sqrt(0.5))
        curve = to.step(node, "Erf", (to.step(node, "Mul", (x, root)),))
    raised = to.step(node, "Add", (curve, to.scalar(node, "one", 1.0)))
    half = to.step(node, "Mul", (x, to.scalar(node, "half", 0.5)))
    to.emit(node, "Mul", (half, raised))


@write.register(ops.Softmax)
def _softmax(node: ops.Softmax, to: Writer) -> None:
    x = node.inputs[0]
    rank = len(to.graph.shape(x))
    last = node.axis == rank - 1
    if node.coerce and not last and to.opset >= _ONE_AXIS:
        flat = to.step(node, "Flatten", (x,), axis=node.axis)
        soft = to.step(node, "Softmax", (flat,), axis=1)
        to.emit_reshape(node, soft, to.rows_shape(x) or to.graph.shape(x))
    elif not node.coerce and not last and to.opset < _ONE_AXIS:
        perm = [d for d in range(rank) if d != node.axis] + [node.axis]
        back = [perm.index(d) for d in range(rank)]
        turned = to.step(node, "Transpose", (x,), perm=perm)
        soft = to.step(node, "Softmax", (turned,), axis=rank - 1)
        to.emit(node, "Transpose", (soft,), perm=back)
    else:
        to.emit(node, "Softmax", node.inputs, axis=node.axis)
