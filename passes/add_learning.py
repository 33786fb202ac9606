"""Put a layer that learns on the chip in place of a network's last dense layer."""

from __future__ import annotations

import dataclasses
import glob
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from lowbitc.compiler.bits import LayerBits
from lowbitc.compiler.diagnostics import CompileError, Diagnostic, error
from lowbitc.compiler.elements import F32, I32, ODD1, U1
from lowbitc.compiler.ir import ops
from lowbitc.compiler.ir import quantized as q
from lowbitc.compiler.ir.groups import KEEPS_LEVELS
from lowbitc.compiler.ir.types import TensorType
from lowbitc.compiler.manager import PassResult

if TYPE_CHECKING:
    from lowbitc.compiler.bits import Bits
    from lowbitc.compiler.diagnostics import Source
    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.compiler.ir.node import Node

LAYER = "learn"
"""Name of the layer that learns."""
_HINT = "end the network in a ReLU and a dense layer behind it, which is replaced"
_REASON = "LB555: the best neuron of each class is found on the CPU"


@dataclass(frozen=True, slots=True)
class AddLearning:
    """Replace the last dense layer and all behind it by neurons that have learned nothing.

    Each of ``classes`` has ``neurons`` of them; a class scores what its best neuron does. Weights
    are 1 for a connection and −1 for none, so that a sum is twice the connections that are active
    minus the inputs that are, the same number for every neuron.
    """

    name: ClassVar[str] = "add-learning"
    classes: int
    neurons: int

    def run(self, graph: Graph) -> PassResult:
        """Return the graph, in stage QUANTIZED, with the new layer.

        Raises CompileError LB551 where there is no dense layer that reads 1-bit levels.
        """
        last = next((n for n in reversed(graph.nodes) if isinstance(n, q.QDense)), None)
        if last is None or graph.tensor(last.inputs[0]).levels != U1:
            raise CompileError([_no_place(graph, last)])
        return PassResult(_Build(graph, last, self).graph(), changed=True)


def binary_features(graph: Graph, bits: Bits) -> Bits:
    """Return bits that make the features before the last dense layer of a folded graph binary."""
    makers = graph.producers()
    last = next((n for n in reversed(graph.nodes) if isinstance(n, ops.Dense)), None)
    maker = makers.get(last.inputs[0]) if last is not None else None
    while maker is not None and isinstance(maker, (*KEEPS_LEVELS, ops.Relu, ops.Clamp)):
        before = makers.get(maker.inputs[0])
        if isinstance(maker, (ops.Relu, ops.Clamp)) and isinstance(before, KEEPS_LEVELS):
            break
        maker = before
    if maker is None:
        return bits
    binary = LayerBits(glob.escape(maker.name), activations=1)
    return dataclasses.replace(bits, layers=(*bits.layers, binary))


def _no_place(graph: Graph, last: Node | None) -> Diagnostic:
    if last is None:
        found = "no dense layer on the chip"
    else:
        held = graph.tensor(last.inputs[0]).levels
        found = f"{last.name} reads {held.name if held else 'no levels'}"
    return error(
        "LB551",
        "the network has no place for a layer that learns",
        sources=() if last is None else last.sources,
        found=found,
        allowed="a last dense layer on the chip that reads 1-bit levels behind a ReLU",
        hint=_HINT,
    )


class _Build:
    """Makes the new nodes, values and constants."""

    def __init__(self, before: Graph, last: Node, wanted: AddLearning) -> None:
        self.before = before
        self.last = last
        self.wanted = wanted
        self.types = dict(before.types)
        self.constants = dict(before.constants)
        self.reasons = dict(before.host_reasons)

    def graph(self) -> Graph:
        before, wanted = self.before, self.wanted
        units, output = wanted.classes * wanted.neurons, before.outputs[0]
        features = self.last.inputs[0]
        width = before.shape(features)[-1]
        nodes: list[Node] = list(before.nodes[: before.nodes.index(self.last)])
        self.constants[f"{LAYER}.weight"] = np.full((units, width), -1, np.int8)
        self.types[f"{LAYER}.weight"] = TensorType((units, width), ODD1, (1.0,))
        # A neuron that has learned nothing loses against one without an active connection.
        self.constants[f"{LAYER}.bias"] = np.full(units, -1, np.int32)
        self.types[f"{LAYER}.bias"] = TensorType((units,), I32)
        self.types[f"{LAYER}.sums"] = TensorType((1, units), I32, (1.0,))
        sources = self.last.sources
        nodes.append(
            q.QDense(
                name=LAYER,
                inputs=(features, f"{LAYER}.weight", f"{LAYER}.bias"),
                outputs=(f"{LAYER}.sums",),
                sources=sources,
                stage=q.Stage.ACCUMULATOR,
            )
        )
        scores = self.value("scores", (1, units))
        nodes.append(
            q.Dequantize(
                name=f"{LAYER}.dequantize",
                inputs=(f"{LAYER}.sums",),
                outputs=(scores,),
                sources=sources,
            )
        )
        nodes += self.best(scores, output, sources)
        self.types[output] = TensorType((1, wanted.classes), F32)
        return before.replace(
            nodes=tuple(nodes),
            outputs=(output,),
            types=self.types,
            constants=self.constants,
            host_reasons=self.reasons,
        ).pruned()

    def value(self, name: str, shape: tuple[int, ...]) -> str:
        full = f"{LAYER}.{name}"
        self.types[full] = TensorType(shape, F32)
        return full

    def best(self, scores: str, output: str, sources: tuple[Source, ...]) -> list[Node]:
        """Return nodes that take the highest score of each class."""
        classes, neurons = self.wanted.classes, self.wanted.neurons
        groups = self.value("groups", (1, classes, neurons))
        best = self.value("best", (1, classes, 1))
        nodes: list[Node] = [
            ops.Reshape(
                name=groups,
                inputs=(scores,),
                outputs=(groups,),
                sources=sources,
                shape=(-1, classes, neurons),
            ),
            ops.MaxPool(
                name=best,
                inputs=(groups,),
                outputs=(best,),
                sources=sources,
                kernel=(neurons,),
                stride=(1,),
                dilation=(1,),
                pads=(0, 0),
            ),
            ops.Reshape(
                name=f"{LAYER}.classes",
                inputs=(best,),
                outputs=(output,),
                sources=sources,
                shape=(-1, classes),
            ),
        ]
        self.reasons.update((node.name, _REASON) for node in nodes)
        return nodes
