"""Give the channels of an activation like ranges, so that few levels serve them all.

Levels of an activation share one scale. Dividing channel c of a layer's output by e and
multiplying the weights that read it by e changes nothing in float (cross-layer equalization,
Nagel et al. 2019), and a clip's bounds may differ by channel on the chip. A depthwise reader has
a scale for each channel, so there it costs nothing; other readers get the square root of the
factor, half the way between equal activations and the weights as they were.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from lowbitc.compiler.bits import Bits
from lowbitc.compiler.execute import FloatSession
from lowbitc.compiler.ir import ops
from lowbitc.compiler.ir.graph import Graph, fresh_name
from lowbitc.compiler.ir.types import TensorType
from lowbitc.compiler.manager import PassResult
from lowbitc.passes.chains import CLIPS, WEIGHTED, Chain, channels_of, clip_bounds, find_chains

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lowbitc.compiler.elements import Array, Float64
    from lowbitc.compiler.ir.node import Node
    from lowbitc.passes.calibrate_pact import Samples

_BY_CHANNEL = (ops.MaxPool, ops.GlobalMaxPool, ops.AveragePool, ops.GlobalAveragePool)
_LARGEST = 16.0


@dataclass(frozen=True, slots=True)
class Reader:
    """A weighted node that reads the channels, each ``repeat`` times in a row."""

    node: Node
    repeat: int


@dataclass(frozen=True, slots=True)
class EqualizeChannels:
    """Rescale channels of activations of at most ``up_to`` bits between weighted layers.

    ``share`` is the power of the factor where a reader is no depthwise convolution.
    """

    name: ClassVar[str] = "equalize-channels"
    samples: Samples
    bits: Bits = Bits()
    up_to: int = 2
    share: float = 0.5

    def run(self, graph: Graph) -> PassResult:
        """Return an equal float graph."""
        found: list[tuple[Chain, tuple[Reader, ...]]] = []
        for chain in find_chains(graph):
            width = self.bits.activation_bits(chain.compute)
            clips = chain.activation is not None and isinstance(chain.activation, CLIPS)
            layer = isinstance(chain.compute, WEIGHTED) and clips and chain.shift is None
            readers = _readers(graph, chain.output, 1) if layer and width <= self.up_to else ()
            if readers:
                found.append((chain, readers))
        if not found:
            return PassResult(graph, changed=False)
        sizes = self._measure(graph, [chain.output for chain, _ in found])
        edit = _Edit(graph)
        for chain, readers in found:
            free = all(_is_depthwise(graph, reader.node) for reader in readers)
            edit.rescale(chain, readers, _factors(sizes[chain.output], 1.0 if free else self.share))
        return PassResult(edit.done(), changed=True)

    def _measure(self, graph: Graph, values: list[str]) -> Mapping[str, Float64]:
        """Return, by channel, the root mean square of what is not zero."""
        session = FloatSession(graph, values, threads=1)
        squares: dict[str, Float64] = {}
        counts: dict[str, Float64] = {}
        for sample in self.samples():
            seen = session.arrays(sample)
            for value in values:
                array = np.asarray(seen[value], np.float32)
                rows = np.moveaxis(array, 1, 0).reshape(array.shape[1], -1)
                energy = np.einsum("cm,cm->c", rows, rows, dtype=np.float64)
                count = np.count_nonzero(rows, axis=1).astype(np.float64)
                squares[value] = squares.get(value, 0.0) + energy
                counts[value] = counts.get(value, 0.0) + count
        return {v: np.sqrt(squares[v] / np.maximum(counts[v], 1.0)) for v in values}


def _readers(graph: Graph, value: str, repeat: int) -> tuple[Reader, ...]:
    """Return the weighted nodes behind a value; () where anything else reads it."""
    if value in graph.outputs:
        return ()
    found: list[Reader] = []
    for node in graph.consumers().get(value, []):
        behind: tuple[Reader, ...] = ()
        if node.name in graph.host_reasons:
            return ()
        if isinstance(node, WEIGHTED) and node.inputs[0] == value:
            whole = not isinstance(node, ops.Dense) or len(graph.shape(value)) == _FLAT
            behind = (Reader(node, repeat),) if whole else ()
        elif isinstance(node, _BY_CHANNEL):
            behind = _readers(graph, node.outputs[0], repeat)
        elif isinstance(node, (ops.Reshape, ops.Flatten)):
            before, after = graph.shape(value), graph.shape(node.outputs[0])
            kept = before[0] == after[0]
            if kept and len(after) == _FLAT:
                size = after[1] // before[1]
                behind = _readers(graph, node.outputs[0], repeat * size)
        if not behind:
            return ()
        found += behind
    return tuple(found)


_FLAT = 2
"""Rank of what a dense layer reads behind a convolution."""


def _is_depthwise(graph: Graph, node: Node) -> bool:
    return (
        isinstance(node, (ops.Conv, ops.ConvTranspose))
        and node.groups == graph.shape(node.inputs[0])[1]
    )


def _factors(sizes: Float64, share: float) -> Float64:
    """Return what to divide each channel by; channels that are always zero keep their size."""
    alive = sizes > 0
    if not alive.any():
        return np.ones(sizes.shape)
    middle = float(np.exp(np.log(sizes[alive]).mean()))
    found = np.where(alive, sizes, middle) / middle
    return np.asarray(np.clip(found, 1 / _LARGEST, _LARGEST) ** share)


class _Edit:
    """New weights, biases and bounds, collected."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.nodes: dict[str, Node] = {n.name: n for n in graph.nodes}
        self.constants = dict(graph.constants)
        self.types = dict(graph.types)
        self.gains = dict(graph.gains)

    def rescale(self, chain: Chain, readers: tuple[Reader, ...], factors: Float64) -> None:
        graph = self.graph
        producer = self.nodes[chain.compute.name]
        axis = 1 if isinstance(producer, ops.ConvTranspose) else 0
        groups = producer.groups if isinstance(producer, ops.ConvTranspose) else 1
        if groups > 1:
            return
        inverse = 1 / factors
        inputs = [producer.inputs[0], self._scaled(producer.inputs[1], inverse, axis)]
        inputs += [self._scaled(v, inverse, 0) for v in producer.inputs[2:] if v]
        self.nodes[producer.name] = dataclasses.replace(producer, inputs=tuple(inputs))
        clip = chain.activation
        if clip is not None and not isinstance(clip, ops.Relu):
            low, high = clip_bounds(graph, clip, channels_of(graph, chain.compute))
            self.nodes[clip.name] = ops.Bound(
                name=clip.name,
                inputs=(
                    clip.inputs[0],
                    self._put(f"{clip.name}.low", low * inverse),
                    self._put(f"{clip.name}.high", high * inverse),
                ),
                outputs=clip.outputs,
                sources=clip.sources,
            )
        self._note(chain.output, inverse)
        for reader in readers:
            node = self.nodes[reader.node.name]
            weights = self._read(node, np.repeat(factors, reader.repeat))
            self.nodes[node.name] = dataclasses.replace(
                node, inputs=(node.inputs[0], weights, *node.inputs[2:])
            )

    def _note(self, value: str, gains: Float64) -> None:
        """Keep what a value's channels are multiplied by, and those of what it moves into."""
        shape = self.graph.shape(value)
        self.gains[value] = tuple(np.repeat(gains, shape[1] // gains.size).tolist())
        for node in self.graph.consumers().get(value, []):
            if not isinstance(node, WEIGHTED):
                self._note(node.outputs[0], gains)

    def _read(self, node: Node, factors: Float64) -> str:
        """Multiply the weights of a node by a factor for each channel that it reads."""
        value = node.inputs[1]
        weights = np.asarray(self.constants[value], np.float64)
        if isinstance(node, ops.ConvTranspose):
            shaped = factors.reshape(-1, *(1,) * (weights.ndim - 1))
        else:
            groups = node.groups if isinstance(node, ops.Conv) else 1
            by_group = factors.reshape(groups, -1)
            rows = np.repeat(by_group, weights.shape[0] // groups, axis=0)
            shaped = rows.reshape(*rows.shape, *(1,) * (weights.ndim - 2))
        return self._put(value, weights * shaped)

    def _scaled(self, value: str, factors: Float64, axis: int) -> str:
        array = np.asarray(self.constants[value], np.float64)
        shape = [1] * array.ndim
        shape[axis] = -1
        return self._put(value, array * factors.reshape(shape))

    def _put(self, wanted: str, array: Float64) -> str:
        name = fresh_name(wanted, self.types)
        kept: Array = array.astype(np.float32)
        self.constants[name] = kept
        like = self.graph.tensor(wanted).element
        if wanted not in self.graph.types:
            like = self.graph.tensor(self.graph.inputs[0]).element
        self.types[name] = TensorType(kept.shape, like)
        return name

    def done(self) -> Graph:
        nodes = tuple(self.nodes[node.name] for node in self.graph.nodes)
        changed = {"constants": self.constants, "types": self.types, "gains": self.gains}
        return self.graph.replace(nodes=nodes, **changed).pruned()
