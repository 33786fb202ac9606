"""Run integer graphs on the CPU, exactly: sums in ONNX Runtime's float kernels, stages in numpy.

A float32 holds every integer up to 2^24, so a float convolution of levels is exact, in whatever
order it adds, as long as no sum can pass that bound; where one could, the weights are run as two
halves of four bits. Compilation uses this to see what the chip will compute; the specification in
``compiler.numerics`` says what is right.
"""

from __future__ import annotations

from functools import singledispatchmethod
from typing import TYPE_CHECKING, cast

import numpy as np

from lowbitc.compiler.diagnostics import InternalError
from lowbitc.compiler.elements import F32, LevelType
from lowbitc.compiler.execute import FloatSession
from lowbitc.compiler.ir import ops, quantized
from lowbitc.compiler.ir.graph import Graph, Stage, reads
from lowbitc.compiler.ir.types import TensorType
from lowbitc.compiler.numerics import spec
from lowbitc.compiler.numerics.pool_divisors import pool_factors

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lowbitc.compiler.elements import Array, Float32, Float64, Int32, Int64
    from lowbitc.compiler.ir.node import Node

EXACT_IN_FLOAT32 = 1 << 24
_HALF = 16
_AT_ONCE = 1 << 20
"""Elements that a stage works on at once, so that they stay in the cache."""


class LevelSession:
    """An integer graph that is ready to run; host nodes run in ONNX Runtime as they are."""

    def __init__(self, graph: Graph, *, threads: int = 0) -> None:
        """Prepare nothing yet: each node's kernel is loaded when it first runs."""
        self.graph = graph
        self._threads = threads
        self._sessions: dict[str, tuple[FloatSession, ...]] = {}

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Return the graph's outputs; n samples are joined along axis 0 of every input."""
        values = dict(feeds)
        last = {v: i for i, node in enumerate(self.graph.nodes) for v in node.inputs}
        for index, node in enumerate(self.graph.nodes):
            values.update(self.run_node(node, values))
            for value in node.inputs:
                if last[value] == index and value not in self.graph.outputs:
                    values.pop(value, None)
        return {value: values[value] for value in self.graph.outputs}

    def run_node(self, node: Node, values: Mapping[str, Array]) -> dict[str, Array]:
        """Return what a node makes of the values that it reads, by name."""
        if isinstance(node, (*quantized.DEVICE_OPS, quantized.Quantize, quantized.Dequantize)):
            inputs = [
                values[v] if v in values else self.graph.constants[v] for v in node.inputs if v
            ]
            return {node.outputs[0]: self._run(node, inputs)}
        session = self._session(node.name, lambda: (host_session(self.graph, node, self._threads),))
        feeds = {v: values[v] for v in session[0].graph.inputs}
        return session[0].arrays(feeds)

    def sums(self, node: quantized.StagedNode, x: Array) -> Float32 | Int64:
        """Return the exact sums of a node that accumulates, before its output stage."""
        sessions = self._session(node.name, lambda: self._load(node))
        feeds = {"x": np.asarray(x, np.float32)}
        parts = [cast("Float32", s.arrays(feeds)["y"]) for s in sessions]
        if isinstance(node, quantized.QAveragePool):
            sums = np.asarray(np.rint(parts[0] * np.float32(np.prod(node.kernel))), np.float32)
            if node.count_padding:
                return sums
            return np.asarray(sums.astype(np.int64) * self._factors(node), np.int64)
        if len(parts) == 1:
            return parts[0]
        return parts[0].astype(np.int64) * _HALF + parts[1].astype(np.int64)

    def fractional_sums(self, node: quantized.StagedNode, x: Array) -> Float64:
        """Return the sums for inputs between levels, as exact as float32 kernels are."""
        sessions = self._session(node.name, lambda: self._load(node))
        feeds = {"x": np.asarray(x, np.float32)}
        parts = [np.asarray(s.arrays(feeds)["y"], np.float64) for s in sessions]
        if isinstance(node, quantized.QAveragePool):
            return parts[0] * float(np.prod(node.kernel)) * self._factors(node)
        return parts[0] if len(parts) == 1 else parts[0] * _HALF + parts[1]

    def _factors(self, node: quantized.QAveragePool) -> Int64:
        size, outputs = (self.graph.shape(v)[2:] for v in (node.inputs[0], node.outputs[0]))
        return pool_factors(node, size, outputs)

    # --- kernels ---------------------------------------------------------------------------------

    def _session(
        self, name: str, make: Callable[[], tuple[FloatSession, ...]]
    ) -> tuple[FloatSession, ...]:
        if name not in self._sessions:
            self._sessions[name] = make()
        return self._sessions[name]

    def _load(self, node: quantized.StagedNode) -> tuple[FloatSession, ...]:
        x_type = self.graph.tensor(node.inputs[0])
        if isinstance(node, quantized.QAveragePool):
            pool = ops.AveragePool(
                **_common(node, ("x",)),  # type: ignore[arg-type]
                kernel=node.kernel,
                stride=node.stride,
                pads=node.pads,
                dilation=(1,) * len(node.kernel),
                count_padding=True,
            )
            return (self._float(pool, x_type, node, {}),)
        levels = self.graph.constants[node.inputs[1]].astype(np.int32)
        axis = 1 if isinstance(node, quantized.QConvTranspose) else 0
        rows = np.moveaxis(levels, axis, 0).reshape(levels.shape[axis], -1)
        element = x_type.levels
        peak = max(abs(element.minimum), element.maximum) if element is not None else 1
        bound = int(np.abs(rows).sum(axis=1).max(initial=0)) * peak
        parts = [levels]
        if bound >= EXACT_IN_FLOAT32:
            parts = [levels // _HALF, levels % _HALF]
        compute = _float_twin(node)
        return tuple(
            self._float(compute, x_type, node, {"w": np.asarray(part, np.float32)})
            for part in parts
        )

    def _float(
        self, compute: Node, x_type: TensorType, node: Node, constants: dict[str, Array]
    ) -> FloatSession:
        types = {
            "x": TensorType(x_type.shape, F32),
            "y": TensorType(self.graph.shape(node.outputs[0]), F32),
            **{k: TensorType(v.shape, F32) for k, v in constants.items()},
        }
        graph = Graph(
            name=node.name,
            inputs=("x",),
            outputs=("y",),
            nodes=(compute,),
            types=types,
            constants=constants,
            opset=max(self.graph.opset, 13),
            stage=Stage.FOLDED,
        )
        return FloatSession(graph, threads=self._threads, fast=True)

    # --- nodes -----------------------------------------------------------------------------------

    def _element(self, node: Node) -> LevelType:
        element = self.graph.tensor(node.outputs[0]).levels
        if element is None:
            raise InternalError(f"{node.outputs[0]} holds no levels")
        return element

    @singledispatchmethod
    def _run(self, node: Node, _inputs: list[Array]) -> Array:
        raise InternalError(f"{node.op} {node.name} is no integer operator")

    @_run.register(quantized.StagedNode)
    def _(self, node: quantized.StagedNode, inputs: list[Array]) -> Array:
        sums = self.sums(node, inputs[0])
        constants = inputs[1 if isinstance(node, quantized.QAveragePool) else 2 :]
        axis = sums.ndim - 1 if isinstance(node, quantized.QDense) else 1
        return run_stage(node, sums, constants, self._element(node), axis)

    @_run.register(quantized.Quantize)
    def _(self, node: quantized.Quantize, inputs: list[Array]) -> Array:
        element = self._element(node)
        scale = self.graph.tensor(node.outputs[0]).scale[0]
        return spec.quantize(np.asarray(inputs[0], np.float32), scale, element).astype(
            element.dtype
        )

    @_run.register(quantized.Dequantize)
    def _(self, node: quantized.Dequantize, inputs: list[Array]) -> Array:
        return spec.dequantize(inputs[0], self.graph.tensor(node.inputs[0]).scale, node.axis)

    @_run.register(quantized.QMaxPool)
    def _(self, node: quantized.QMaxPool, inputs: list[Array]) -> Array:
        whole = _whole(inputs[0])
        found = spec.max_pool(whole, node.kernel, node.stride, node.dilation, node.pads)
        return found.astype(inputs[0].dtype)

    @_run.register(quantized.QAdd)
    def _(self, node: quantized.QAdd, inputs: list[Array]) -> Array:
        element = self._element(node)
        a, b = (_whole(v) for v in inputs)
        return spec.add(a, b, node.multiplier_a, node.multiplier_b, node.shift, element).astype(
            element.dtype
        )

    @_run.register(quantized.QTable)
    def _(self, node: quantized.QTable, inputs: list[Array]) -> Array:
        source = self.graph.tensor(node.inputs[0]).levels
        low = source.minimum if source is not None else 0
        return np.asarray(inputs[1])[inputs[0].astype(np.int16) - low]

    @_run.register(quantized.QConcat)
    def _(self, node: quantized.QConcat, inputs: list[Array]) -> Array:
        return np.concatenate(inputs, axis=node.axis)

    @_run.register(quantized.QReshape)
    def _(self, node: quantized.QReshape, inputs: list[Array]) -> Array:
        rows = self.graph.shape(node.inputs[0])[0]
        samples = inputs[0].shape[0] // rows
        return inputs[0].reshape(samples * node.shape[0], *node.shape[1:])

    @_run.register(quantized.QTranspose)
    def _(self, node: quantized.QTranspose, inputs: list[Array]) -> Array:
        return np.ascontiguousarray(np.transpose(inputs[0], node.perm))

    @_run.register(quantized.QSlice)
    def _(self, node: quantized.QSlice, inputs: list[Array]) -> Array:
        cut = [slice(None)] * inputs[0].ndim
        for start, end, axis, step in zip(
            node.starts, node.ends, node.axes, node.steps, strict=True
        ):
            cut[axis] = slice(start, end, step)
        return np.ascontiguousarray(inputs[0][tuple(cut)])

    @_run.register(quantized.QUpsample)
    def _(self, node: quantized.QUpsample, inputs: list[Array]) -> Array:
        found = inputs[0]
        for axis, factor in enumerate(node.factors):
            if factor > 1:
                found = np.repeat(found, factor, axis=axis)
        return found

    @_run.register(quantized.QPad)
    def _(self, node: quantized.QPad, inputs: list[Array]) -> Array:
        rank = inputs[0].ndim
        return np.pad(inputs[0], tuple(zip(node.pads[:rank], node.pads[rank:], strict=True)))


def run_stage(
    node: quantized.StagedNode,
    sums: Float32 | Int64,
    constants: list[Array],
    element: LevelType,
    axis: int,
) -> Array:
    """Return what a node's output stage makes of its exact sums."""
    out = np.empty(sums.shape, element.dtype)
    step = max(1, _AT_ONCE // max(sums[0].size, 1)) if len(sums) else 1
    for start in range(0, len(sums), step):
        part = sums[start : start + step]
        out[start : start + step] = _stage(node, part, constants, element, axis)
    return out


def _stage(
    node: quantized.StagedNode,
    sums: Float32 | Int64,
    constants: list[Array],
    element: LevelType,
    axis: int,
) -> Array:
    if node.stage is quantized.Stage.THRESHOLDS:
        return _count(sums, cast("Int32", constants[0]), element, axis)
    whole = sums.astype(np.int64)
    if node.stage is quantized.Stage.ACCUMULATOR:
        shape = [1] * whole.ndim
        shape[axis] = -1
        return whole + constants[0].astype(np.int64).reshape(shape)
    bias, multiplier, shift, low, high = (cast("Int32", c) for c in constants[:5])
    levels = spec.requantize(whole, bias, multiplier, shift, low, high, axis)
    if node.table and node.middle is not None:
        return spec.look_up(levels, constants[5], node.middle)
    return levels


def _count(sums: Float32 | Int64, thresholds: Int32, element: LevelType, axis: int) -> Array:
    """Return lowest level + how many thresholds are reached: one comparison a threshold."""
    shape = [1] * sums.ndim
    shape[axis] = -1
    found = np.zeros(sums.shape, np.int8)
    for column in thresholds.T:
        found += sums >= column.astype(sums.dtype).reshape(shape)
    return found.astype(np.int16) + element.minimum


def _whole(levels: Array) -> Int64:
    return levels.astype(np.int64)


def _common(node: Node, inputs: tuple[str, ...]) -> dict[str, object]:
    return {"name": node.name, "inputs": inputs, "outputs": ("y",), "sources": node.sources}


def _float_twin(node: quantized.StagedNode) -> Node:
    common = _common(node, ("x", "w"))
    if isinstance(node, quantized.QConv):
        return ops.Conv(
            **common,  # type: ignore[arg-type]
            kernel=node.kernel,
            stride=node.stride,
            dilation=node.dilation,
            pads=node.pads,
            groups=node.groups,
        )
    if isinstance(node, quantized.QConvTranspose):
        return ops.ConvTranspose(
            **common,  # type: ignore[arg-type]
            kernel=node.kernel,
            stride=node.stride,
            dilation=node.dilation,
            pads=node.pads,
            output_padding=node.output_padding,
            groups=node.groups,
        )
    return ops.Dense(**common)  # type: ignore[arg-type]


def host_session(graph: Graph, node: Node, threads: int) -> FloatSession:
    """Load one float node of a graph as a graph of its own."""
    read = tuple(dict.fromkeys(v for v in reads(node)))
    constants = {v: graph.constants[v] for v in read if v in graph.constants}
    inputs = tuple(v for v in read if v not in constants)
    outputs = tuple(v for v in node.outputs if v)
    piece = Graph(
        name=node.name,
        inputs=inputs,
        outputs=outputs,
        nodes=(node,),
        types={v: graph.types[v] for v in (*read, *outputs) if v in graph.types},
        constants=constants,
        opset=graph.opset,
        domains=graph.domains,
        stage=Stage.FOLDED,
    )
    return FloatSession(piece, threads=threads)
