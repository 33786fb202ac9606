"""The chip's operators on levels, in torch: what the integer engines compute, with gradients.

Levels are floats that hold integers. Sums are exact in float32 up to 2^24, in float64 always.
"""

from __future__ import annotations

import math
from functools import singledispatch
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from lowbitc.compiler.diagnostics import InternalError
from lowbitc.compiler.ir import ops
from lowbitc.passes.quantize import ceil_pads
from lowbitc.training.geometry import Geometry, padded

if TYPE_CHECKING:
    from collections.abc import Callable

    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.compiler.ir.node import Node

_MAX_POOL = {1: functional.max_pool1d, 2: functional.max_pool2d, 3: functional.max_pool3d}


@singledispatch
def geometry_of(node: Node) -> Geometry:
    """Return the geometry of a node that holds weights."""
    message = f"{node.op} {node.name} holds no weights"
    raise InternalError(message)


@geometry_of.register(ops.Conv)
def _(node: ops.Conv) -> Geometry:
    return Geometry(node.kernel, node.stride, node.dilation, node.pads, node.groups)


@geometry_of.register(ops.ConvTranspose)
def _(node: ops.ConvTranspose) -> Geometry:
    rank = len(node.kernel)
    ends = [e - o for e, o in zip(node.pads[rank:], node.output_padding, strict=True)]
    pads = (*node.pads[:rank], *ends)
    return Geometry(node.kernel, node.stride, node.dilation, pads, node.groups, transposed=True)


@geometry_of.register(ops.Dense)
def _(node: ops.Dense) -> Geometry:
    del node
    return Geometry()


@singledispatch
def sum_levels(node: Node, x: Tensor) -> Tensor:
    """Return the sums of a node that accumulates and holds no weights."""
    del x
    message = f"{node.op} {node.name} does not accumulate"
    raise InternalError(message)


@sum_levels.register(ops.GlobalAveragePool)
def _(node: ops.GlobalAveragePool, x: Tensor) -> Tensor:
    del node
    return x.sum(dim=tuple(range(2, x.ndim)), keepdim=True)


@sum_levels.register(ops.AveragePool)
def _(node: ops.AveragePool, x: Tensor) -> Tensor:
    channels, flat = x.shape[1], (1,) * len(node.kernel)
    ones = torch.ones((channels, 1, *node.kernel), dtype=x.dtype, device=x.device)
    return Geometry(node.kernel, node.stride, flat, node.pads, channels).multiply(x, ones)


@singledispatch
def move_levels(node: Node, graph: Graph, x: Tensor) -> Tensor:
    """Return the output of a node that moves or compares levels."""
    del graph, x
    message = f"{node.op} {node.name} does not keep levels"
    raise InternalError(message)


@move_levels.register(ops.MaxPool)
def _(node: ops.MaxPool, graph: Graph, x: Tensor) -> Tensor:
    rank = len(node.kernel)
    held = padded(x, ceil_pads(graph, node), -math.inf)
    return _MAX_POOL[rank](held, node.kernel, node.stride, 0, node.dilation)


@move_levels.register(ops.GlobalMaxPool)
def _(node: ops.GlobalMaxPool, graph: Graph, x: Tensor) -> Tensor:
    del node, graph
    return x.amax(dim=tuple(range(2, x.ndim)), keepdim=True)


@move_levels.register(ops.Transpose)
def _(node: ops.Transpose, graph: Graph, x: Tensor) -> Tensor:
    del graph
    return x.permute(node.perm)


@move_levels.register(ops.Slice)
def _(node: ops.Slice, graph: Graph, x: Tensor) -> Tensor:
    del graph
    index = [slice(None)] * x.ndim
    for start, end, axis, step in zip(node.starts, node.ends, node.axes, node.steps, strict=True):
        index[axis] = slice(start, end, step)
    return x[tuple(index)]


@move_levels.register(ops.Upsample)
def _(node: ops.Upsample, graph: Graph, x: Tensor) -> Tensor:
    del graph
    for axis, factor in enumerate(node.factors):
        if factor != 1:
            x = x.repeat_interleave(factor, dim=axis)
    return x


@move_levels.register(ops.Pad)
def _(node: ops.Pad, graph: Graph, x: Tensor) -> Tensor:
    del graph
    rank = x.ndim
    return padded(x, (*node.pads[:rank], *node.pads[rank:]))


@move_levels.register(ops.Reshape)
@move_levels.register(ops.Flatten)
@move_levels.register(ops.Squeeze)
@move_levels.register(ops.Unsqueeze)
def _(node: Node, graph: Graph, x: Tensor) -> Tensor:
    # The declared shape is that of one sample; n samples make the first dimension n times as long.
    shape = graph.shape(node.outputs[0])
    count = x.shape[0] // graph.shape(node.inputs[0])[0]
    return x.reshape(shape[0] * count, *shape[1:])


def activation_function(node: Node) -> Callable[[Tensor], Tensor]:  # noqa: C901, PLR0911 - a class each
    """Return an activation that needs a table, as a function with gradients."""
    if isinstance(node, ops.Sigmoid):
        return torch.sigmoid
    if isinstance(node, ops.Tanh):
        return torch.tanh
    if isinstance(node, ops.Silu):
        return functional.silu
    if isinstance(node, ops.Gelu):
        kind = "tanh" if node.tanh else "none"
        return lambda x: functional.gelu(x, approximate=kind)
    if isinstance(node, ops.HardSwish):
        return lambda x: x * (x / 6 + 0.5).clamp(0, 1)
    if isinstance(node, ops.HardSigmoid):
        return lambda x: (node.alpha * x + node.beta).clamp(0, 1)
    if isinstance(node, ops.LeakyRelu):
        return lambda x: functional.leaky_relu(x, node.alpha)
    if isinstance(node, ops.Elu):
        return lambda x: functional.elu(x, node.alpha)
    if isinstance(node, ops.Softplus):
        return functional.softplus
    if isinstance(node, ops.Erf):
        return torch.erf
    if isinstance(node, ops.Relu):
        return torch.relu
    if isinstance(node, ops.Clamp):
        return lambda x: x.clamp(node.low, node.high)
    message = f"{node.op} {node.name} is no activation"
    raise InternalError(message)
