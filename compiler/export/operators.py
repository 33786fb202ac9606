"""Write arithmetic operators: convolutions, products, normalisation, pools."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np

from lowbitc.compiler.diagnostics import InternalError
from lowbitc.compiler.ir import ops

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lowbitc.compiler.export.writer import Attribute, Writer
    from lowbitc.compiler.ir.node import Node


@functools.singledispatch
def write(node: Node, to: Writer) -> None:
    """Write one node; each operator class registers its own writer."""
    message = f"{node.op} {node.name} is no float operator at opset {to.opset}"
    raise InternalError(message)


_SAME_NAME = (
    ops.MatMul,
    ops.Relu,
    ops.Sigmoid,
    ops.Tanh,
    ops.Erf,
    ops.Softplus,
    ops.Add,
    ops.Sub,
    ops.Mul,
    ops.Div,
    ops.GlobalAveragePool,
    ops.GlobalMaxPool,
    ops.Identity,
)
"""Operators without attributes whose name is ONNX's."""


def _write_same_name(node: Node, to: Writer) -> None:
    to.emit(node, node.op, node.inputs)


for _operator in _SAME_NAME:
    write.register(_operator, _write_same_name)


def _write_window(
    node: ops.Conv | ops.ConvTranspose | ops.MaxPool | ops.AveragePool, to: Writer
) -> None:
    attributes: dict[str, Attribute] = {
        "kernel_shape": node.kernel,
        "strides": node.stride,
        "pads": node.pads,
    }
    if set(node.dilation) - {1}:
        attributes["dilations"] = node.dilation
    if isinstance(node, (ops.Conv, ops.ConvTranspose)):
        attributes["group"] = node.groups
    elif node.ceil_mode:
        attributes["ceil_mode"] = 1
    if isinstance(node, ops.ConvTranspose):
        attributes["output_padding"] = node.output_padding
    if isinstance(node, ops.AveragePool) and node.count_padding:
        attributes["count_include_pad"] = 1
    to.emit(node, node.op, node.inputs, **attributes)


for _window in (ops.Conv, ops.ConvTranspose, ops.MaxPool, ops.AveragePool):
    write.register(_window, _write_window)


@write.register(ops.Gemm)
def _gemm(node: ops.Gemm, to: Writer) -> None:
    inputs = node.inputs
    if len([v for v in inputs if v]) == 2 and to.opset < 11:  # noqa: PLR2004 - a and b, no c
        inputs = (*inputs[:2], to.scalar(node, "c", 0.0))
    to.emit(
        node,
        "Gemm",
        inputs,
        alpha=node.alpha,
        beta=node.beta,
        transA=int(node.trans_a),
        transB=int(node.trans_b),
    )


@write.register(ops.Dense)
def _dense(node: ops.Dense, to: Writer) -> None:
    x, w, *bias = (v for v in node.inputs if v)
    if len(to.graph.shape(x)) == 2 and (bias or to.opset >= 11):  # noqa: PLR2004 - a matrix
        to.emit(node, "Gemm", (x, w, *bias), transB=1)
        return
    if w not in to.arrays:
        message = f"the weight {w} of Dense {node.name} is no constant"
        raise InternalError(message)
    turned = to.constant(f"{w}/transposed", np.transpose(to.arrays[w]))
    if bias:
        to.emit(node, "Add", (to.step(node, "MatMul", (x, turned)), *bias))
    else:
        to.emit(node, "MatMul", (x, turned))


@write.register(ops.BatchNorm)
def _batch_norm(node: ops.BatchNorm, to: Writer) -> None:
    to.emit(node, "BatchNormalization", node.inputs, epsilon=node.epsilon)


@write.register(ops.Bound)
def _bound(node: ops.Bound, to: Writer) -> None:
    x, *bounds = node.inputs
    low, high = _by_channel(node, bounds, ("low", "high"), to)
    to.emit(node, "Min", (to.step(node, "Max", (x, low)), high))


@write.register(ops.ScaleShift)
def _scale_shift(node: ops.ScaleShift, to: Writer) -> None:
    x, *vectors = node.inputs
    held = [to.arrays.get(v) for v in vectors]
    if held[1] is not None and not np.any(held[1]):
        to.emit(node, "Mul", (x, *_by_channel(node, vectors[:1], ("scale",), to)))
    elif held[0] is not None and np.all(held[0] == 1):
        to.emit(node, "Add", (x, *_by_channel(node, vectors[1:], ("shift",), to)))
    else:
        scale, shift = _by_channel(node, vectors, ("scale", "shift"), to)
        to.emit(node, "Add", (to.step(node, "Mul", (x, scale)), shift))


def _by_channel(
    node: Node, values: Sequence[str], roles: Sequence[str], to: Writer
) -> Iterator[str]:
    """Add constants [C] in a shape that broadcasts along axis 1 of the node's input."""
    spatial = (1,) * (len(to.graph.shape(node.inputs[0])) - 2)
    for value, role in zip(values, roles, strict=True):
        if value not in to.arrays:
            message = f"the {role} {value} of {node.op} {node.name} is no constant"
            raise InternalError(message)
        yield to.constant(f"{node.name}/{role}", np.reshape(to.arrays[value], (-1, *spatial)))


@write.register(ops.ReduceMean)
def _reduce_mean(node: ops.ReduceMean, to: Writer) -> None:
    if not node.axes and to.graph.shape(node.inputs[0]):
        to.emit(node, "Identity", node.inputs)
    elif not node.axes:
        to.emit(node, "ReduceMean", node.inputs, keepdims=int(node.keepdims))
    elif to.opset >= 18:  # noqa: PLR2004 - axes became an input
        axes = to.integers(node, "axes", node.axes)
        to.emit(node, "ReduceMean", (*node.inputs, axes), keepdims=int(node.keepdims))
    else:
        to.emit(node, "ReduceMean", node.inputs, axes=node.axes, keepdims=int(node.keepdims))


@write.register(ops.FakeQuantize)
def _fake_quantize(node: ops.FakeQuantize, to: Writer) -> None:
    scale = to.scalar(node, "scale", node.scale)
    steps = to.step(node, "Round", (to.step(node, "Div", (node.inputs[0], scale)),))
    bounds = (to.scalar(node, "low", node.low), to.scalar(node, "high", node.high))
    to.emit(node, "Mul", (to.step(node, "Clip", (steps, *bounds)), scale))
