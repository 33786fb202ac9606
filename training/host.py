"""The CPU's part of a network in torch: gradients go through it, as far as it is known here.

Values have the samples along a dimension of their own in front: [n, *shape].
"""

from __future__ import annotations

from functools import singledispatch
from typing import TYPE_CHECKING

import numpy as np
import onnx
import torch
from torch import Tensor

from lowbitc.compiler.diagnostics import InternalError
from lowbitc.compiler.ir import ops

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.compiler.ir.node import Node

_RESHAPES = (ops.Reshape, ops.Flatten, ops.Squeeze, ops.Unsqueeze)
_RECURRENT = {"GRU": 3, "LSTM": 4}
"""Gates of the recurrent layers that are known."""
_LENGTHS, _PEEPHOLES = 4, 7
"""Inputs that are not known: sequence_lens and the LSTM's P."""
_ATTRIBUTES = frozenset({"hidden_size", "linear_before_reset", "direction", "layout"})


def is_known(graph: Graph, node: Node) -> bool:
    """Whether ``run_on_host`` computes a node exactly as ONNX defines it."""
    if isinstance(node, ops.Slice):
        return min(node.steps, default=1) > 0
    if not isinstance(node, ops.HostOp):
        if isinstance(node, ops.Dense):
            return all(v in graph.constants for v in node.inputs[1:])
        return isinstance(node, (*_RESHAPES, ops.Transpose, ops.Concat))
    given = _attributes(node)
    absent = [v for i, v in enumerate(node.inputs) if i in {_LENGTHS, _PEEPHOLES}]
    weights = node.inputs[1:4]
    return (
        node.op_type in _RECURRENT
        and not node.domain
        and given.keys() <= _ATTRIBUTES
        and given.get("direction", b"forward") in {b"forward", b"reverse"}
        and not given.get("layout", 0)
        and not any(absent)
        and all(v in graph.constants for v in weights if v)
    )


@singledispatch
def run_on_host(node: Node, graph: Graph, inputs: Sequence[Tensor | None]) -> tuple[Tensor, ...]:
    """Return the outputs of a known node; an input is None where ONNX leaves it out."""
    del graph, inputs
    message = f"{node.op} {node.name} is not known in training"
    raise InternalError(message)


@run_on_host.register(ops.Transpose)
def _(node: ops.Transpose, graph: Graph, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    del graph
    return (inputs[0].permute(0, *(axis + 1 for axis in node.perm)),)


@run_on_host.register(ops.Slice)
def _(node: ops.Slice, graph: Graph, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    del graph
    index = [slice(None)] * inputs[0].ndim
    for start, end, axis, step in zip(node.starts, node.ends, node.axes, node.steps, strict=True):
        index[axis + 1] = slice(start, end, step)
    return (inputs[0][tuple(index)],)


@run_on_host.register(ops.Concat)
def _(node: ops.Concat, graph: Graph, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    del graph
    return (torch.cat(tuple(inputs), dim=node.axis + 1),)


@run_on_host.register(ops.Dense)
def _(node: ops.Dense, graph: Graph, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    del node, graph
    y = inputs[0] @ inputs[1][0].T
    return (y if len(inputs) == 2 else y + inputs[2][0],)  # noqa: PLR2004 - x and weights


@run_on_host.register(ops.Reshape)
@run_on_host.register(ops.Flatten)
@run_on_host.register(ops.Squeeze)
@run_on_host.register(ops.Unsqueeze)
def _(node: Node, graph: Graph, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    return (inputs[0].reshape(len(inputs[0]), *graph.shape(node.outputs[0])),)


@run_on_host.register(ops.HostOp)
def _(node: ops.HostOp, graph: Graph, inputs: Sequence[Tensor | None]) -> tuple[Tensor, ...]:
    """Run a recurrent layer of one direction; gates in ONNX's order, [T, batch, …] a sample."""
    del graph
    given = _attributes(node)
    x, w, r = (_present(value) for value in inputs[:3])
    count, steps, batch = x.shape[:3]
    hidden = r.shape[-1]
    bias = inputs[3] if len(inputs) > 3 else None  # noqa: PLR2004 - B is ONNX's fourth input
    size = _RECURRENT[node.op_type] * hidden
    both = torch.zeros(2 * size, dtype=x.dtype, device=x.device)
    for_x, for_h = (both if bias is None else bias.reshape(-1)).chunk(2)
    # Samples and batch are one dimension of the cell's; steps come first.
    gates = (x @ w.reshape(size, -1).T + for_x).permute(1, 0, 2, 3).reshape(steps, -1, size)
    states = [
        x.new_zeros(count * batch, hidden) if value is None else _state(value, count, hidden)
        for value in (*inputs[5:7], None, None)[:2]
    ]
    reverse = given.get("direction") == b"reverse"
    order = range(steps - 1, -1, -1) if reverse else range(steps)
    found: list[Tensor] = [x.new_empty(0)] * steps
    weights = r.reshape(size, hidden)
    h, c = states
    for step in order:
        if node.op_type == "GRU":
            late = bool(given.get("linear_before_reset", 0))
            h = _gru(gates[step], h, weights, for_h, late=late)
        else:
            h, c = _lstm(gates[step] + h @ weights.T + for_h, c)
        found[step] = h
    y = torch.stack(found).reshape(steps, count, batch, hidden).transpose(0, 1).unsqueeze(2)
    last = [state.reshape(count, 1, batch, hidden) for state in (h, c)]
    return (y, *last)[: len(node.outputs)]


def _gru(gates: Tensor, h: Tensor, weights: Tensor, bias: Tensor, *, late: bool) -> Tensor:
    """Return the next state of a GRU; ONNX's gates are update, reset, hidden."""
    size = h.shape[1]
    two = torch.sigmoid(gates[:, : 2 * size] + h @ weights[: 2 * size].T + bias[: 2 * size])
    update, reset = two.chunk(2, dim=1)
    own, shift = weights[2 * size :].T, bias[2 * size :]
    recurrent = reset * (h @ own + shift) if late else (reset * h) @ own + shift
    new = torch.tanh(gates[:, 2 * size :] + recurrent)
    return (1 - update) * new + update * h


def _lstm(gates: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """Return the next state and cell of an LSTM; ONNX's gates are input, output, forget, cell."""
    enter, leave, forget, cell = gates.chunk(4, dim=1)
    c = torch.sigmoid(forget) * c + torch.sigmoid(enter) * torch.tanh(cell)
    return torch.sigmoid(leave) * torch.tanh(c), c


def _state(value: Tensor, count: int, hidden: int) -> Tensor:
    """Return an initial state for all samples; a constant is that of each."""
    return value.expand(count, *value.shape[1:]).reshape(-1, hidden)


def _present(value: Tensor | None) -> Tensor:
    assert value is not None  # noqa: S101 - ONNX requires X, W and R
    return value


def _attributes(node: ops.HostOp) -> dict[str, object]:
    proto = onnx.NodeProto.FromString(node.proto)
    return {a.name: onnx.helper.get_attribute_value(a) for a in proto.attribute}


def constant(graph: Graph, name: str) -> Tensor:
    """Return a constant of the graph as one sample: [1, *shape]."""
    return torch.tensor(np.asarray(graph.constants[name]))[None]
