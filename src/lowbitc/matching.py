"""Which layer of a program stands for which nodes of the float model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lowbitc.compiler.diagnostics import CompileError, error
from lowbitc.compiler.execute import FloatSession
from lowbitc.compiler.frontend import import_model
from lowbitc.compiler.ir import ops
from lowbitc.compiler.ir import quantized as q
from lowbitc.compiler.ir.graph import Graph, Stage, reads
from lowbitc.compiler.ir.groups import WEIGHTED
from lowbitc.compiler.manager import PassManager
from lowbitc.compiler.numerics import spec
from lowbitc.passes.absorb_shifts import AbsorbShifts
from lowbitc.passes.chains import Chain, by_output, find_chains
from lowbitc.passes.folding import FOLDING
from lowbitc.passes.quantize import level_name
from lowbitc.passes.rotate_streams import rotate_again

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import onnx

    from lowbitc.compiler.diagnostics import Diagnostic, Source
    from lowbitc.compiler.elements import Array, Float32
    from lowbitc.compiler.ir.node import Node
    from lowbitc.targets.program.program import Program

MOVES = (q.QReshape, q.QTranspose, q.QSlice, q.QUpsample, q.QPad, q.QMaxPool, q.QConcat)
"""Operators that choose among levels and make none anew."""
_SHOWN = 6


@dataclass(frozen=True, slots=True)
class Layer:
    """Integer nodes that make one of the user's tensors from others, and their float nodes.

    ``value`` names the levels that the last of ``nodes`` makes, ``tensor`` the user's tensor;
    ``inputs`` are user's tensors too. At a border to the chip there are no float nodes.
    """

    launch: int
    nodes: tuple[Node, ...]
    value: str
    tensor: str
    inputs: tuple[str, ...]
    floats: tuple[Node, ...]
    chain: Chain | None
    sources: tuple[Source, ...]

    @property
    def node(self) -> Node:
        """The node that the layer is named by."""
        return self.nodes[-1]


@dataclass(frozen=True, slots=True)
class Match:
    """A program beside the folded float model that it was compiled from."""

    program: Program
    graph: Graph
    layers: tuple[Layer, ...]

    def scaled(self, tensor: str, floats: Array, *, back: bool = False) -> Float32:
        """Return a tensor with the program's gains; with ``back``, one of the program without."""
        gains = self.program.gains.get(tensor)
        values = np.asarray(floats, np.float32)
        if gains is None:
            return values
        factors = np.asarray(gains, np.float32).reshape(1, -1, *(1,) * (values.ndim - 2))
        return values / factors if back else values * factors

    def dequantized(self, layer: Layer, levels: Array) -> Float32:
        """Return the values of a layer's levels."""
        graph = self.program.launches[layer.launch].graph
        axis = levels.ndim - 1 if isinstance(layer.node, q.QDense) else 1
        return spec.dequantize(levels, graph.tensor(layer.value).scale, axis)

    def session(self, layer: Layer, graph: Graph | None = None) -> FloatSession:
        """Load a layer's float nodes, perhaps as they stand in another graph."""
        whole = graph or self.graph
        held = {v for node in layer.floats for v in (*reads(node), *node.outputs)}
        piece = Graph(
            name=layer.node.name,
            inputs=layer.inputs,
            outputs=(layer.tensor,),
            nodes=layer.floats,
            types={v: t for v, t in whole.types.items() if v in held},
            constants={v: a for v, a in whole.constants.items() if v in held},
            opset=whole.opset,
            domains=whole.domains,
            stage=Stage.FOLDED,
        )
        return FloatSession(piece, threads=1)


def match_program(program: Program, model: str | Path | onnx.ModelProto) -> Match:
    """Read the float model through the front end, and find every layer of the program in it.

    Raises CompileError LB770 with the layers that are not in the model, LB776 for a model that is
    quantized itself.
    """
    shapes = {port.name: tuple(port.shape or ()) for port in program.inputs}
    imported = import_model(model, shapes=shapes).graph
    folded = PassManager(FOLDING).run(imported).graph
    if any(isinstance(node, ops.FakeQuantize) for node in folded.nodes):
        raise CompileError([_quantized()])
    names = {node.name for node in folded.nodes}
    reasons = {n.name: n.reason for s in program.host_steps for n in s.nodes if n.name in names}
    graph = AbsorbShifts().run(folded.replace(host_reasons=reasons)).graph
    graph = rotate_again(graph, program.rotated)
    layers = tuple(
        layer
        for index, launch in enumerate(program.launches)
        for layer in _layers(graph, launch.graph, index)
    )
    strange = [layer.node.name for layer in layers if not _fits(graph, program, layer)]
    weighted = sum(
        isinstance(node, q.WEIGHTED) for launch in program.launches for node in launch.graph.nodes
    )
    matched = sum(isinstance(layer.node, q.WEIGHTED) for layer in layers)
    if strange or matched != weighted or not layers:
        raise CompileError([_foreign(strange, weighted - matched)])
    return Match(program, graph, layers)


def _quantized() -> Diagnostic:
    return error(
        "LB776",
        "the model is quantized itself, so there are no float layers to compare with",
        allowed="a float model",
        hint="the program takes its levels as they are: `lowbitc gate --metric agreement "
        "--reference MODEL.onnx` compares the outputs",
    )


def _foreign(strange: list[str], missing: int) -> Diagnostic:
    names = ", ".join(strange[:_SHOWN])
    return error(
        "LB770",
        "the program was not compiled from this model",
        found=f"{len(strange)} layers of another shape ({names})"
        if strange
        else f"{missing} layers with weights that the model does not have",
        allowed="the ONNX model that the program was compiled from, at the same shapes",
        hint="compile the model again, or give the model that belongs to the program",
    )


def _layers(graph: Graph, launch: Graph, index: int) -> Iterator[Layer]:
    """Cut a launch at every value that stands for a tensor of the float model."""
    makers = graph.producers()
    chains = by_output(find_chains(graph))
    tensors = {level_name(v): v for v in (*graph.inputs, *makers)}
    open_: dict[str, tuple[tuple[Node, ...], tuple[str, ...]]] = {}
    for node in launch.nodes:
        if isinstance(node, q.Dequantize):
            continue
        nodes: tuple[Node, ...] = ()
        inputs: tuple[str, ...] = ()
        for value in node.inputs:
            if value in launch.constants:
                continue
            before = open_.get(value)
            nodes += before[0] if before else ()
            inputs += before[1] if before else (tensors.get(value, value),)
        nodes, inputs = (*nodes, node), tuple(dict.fromkeys(inputs))
        value = node.outputs[0]
        tensor = tensors.get(value)
        if tensor is None:
            open_[value] = (nodes, inputs)
            continue
        if all(isinstance(held, MOVES) for held in nodes):
            continue
        chain = chains.get(tensor)
        border = isinstance(node, q.Quantize)
        floats = chain.nodes if chain else (makers[tensor],) if tensor in makers else ()
        yield Layer(
            launch=index,
            nodes=nodes,
            value=value,
            tensor=tensor,
            inputs=inputs,
            floats=() if border else floats,
            chain=None if border else chain,
            sources=node.sources,
        )


def _fits(graph: Graph, program: Program, layer: Layer) -> bool:
    """Whether the float nodes read the same tensors, and hold weights of the same shape."""
    if isinstance(layer.node, q.Quantize):
        return True
    if layer.chain is None or not isinstance(layer.chain.compute, WEIGHTED):
        return bool(layer.floats)
    compute = layer.chain.compute
    launch = program.launches[layer.launch].graph
    stored = layer.node.inputs[1:2]
    same = compute.inputs[0] in layer.inputs and bool(stored)
    return same and graph.shape(compute.inputs[1]) == launch.shape(stored[0])
