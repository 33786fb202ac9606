"""Give the channels of an activation like ranges, so that few levels serve them all.

Levels of an activation share one scale. Dividing channel c of a layer's output by e and
multiplying the weights that read it by e changes nothing in float (cross-layer equalization,
Nagel et al. 2019), and a clip's bounds may differ by channel on the chip. So each channel can have
levels as far apart as suits it. A depthwise reader has a scale for each channel: there that costs
nothing. Other readers' weights pay with coarser levels where factors spread; ``channel_steps``
weighs both, so the pair of layers gets the factors that cost it least, and none where none help.
A residual stream, which Adds join, gets one set of factors for all its values.
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
from lowbitc.compiler.ir.groups import WEIGHTED
from lowbitc.compiler.ir.types import TensorType
from lowbitc.compiler.manager import PassResult
from lowbitc.compiler.statistics.channel_steps import Reading, choose_steps
from lowbitc.passes.chains import Chain, channels_of, clip_bounds
from lowbitc.passes.joined_values import Joined, Reader, find_joined

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lowbitc.compiler.elements import Array, Float32, Float64
    from lowbitc.compiler.ir.node import Node
    from lowbitc.passes.calibrate_pact import Samples

_LARGEST = 16.0
_OF_A_SAMPLE = 16
_GOLDEN = 0.6180339887498949
_NOISE = {1: 0.363, 2: 0.119, 4: 0.0115, 8: 0.0001}
"""Mean squared error of a Gaussian's levels, by bits, over its variance."""


@dataclass(frozen=True, slots=True)
class EqualizeChannels:
    """Rescale channels of activations of at most ``up_to`` bits between weighted layers.

    In residual streams, where factors that suit one value have to suit all, that pays at fewer
    bits only (``streams_up_to``).
    """

    name: ClassVar[str] = "equalize-channels"
    samples: Samples
    bits: Bits = Bits()
    up_to: int = 4
    streams_up_to: int = 2

    def run(self, graph: Graph) -> PassResult:
        """Return an equal float graph."""
        found = [joined for joined in find_joined(graph) if self._few(joined)]
        if not found:
            return PassResult(graph, changed=False)
        rows = self._collect(graph, [c.output for joined in found for c in joined.clipped])
        edit = _Edit(graph)
        for joined in found:
            edit.rescale(joined, self._factors(edit, joined, rows))
        return PassResult(edit.done(), changed=True)

    def _few(self, joined: Joined) -> bool:
        """Whether any of the values has few levels."""
        most = self.up_to if len(joined.chains) == 1 else self.streams_up_to
        widths = (self.bits.activation_bits(chain.compute) for chain in joined.clipped)
        return any(width <= most for width in widths)

    def _collect(self, graph: Graph, values: list[str]) -> Mapping[str, Float32]:
        """Return some of what is in each channel, [C, n], evenly from all samples."""
        session = FloatSession(graph, values, threads=1)
        parts: dict[str, list[Float32]] = {value: [] for value in values}
        for number, sample in enumerate(self.samples()):
            seen = session.arrays(sample)
            for value in values:
                array = np.asarray(seen[value], np.float32)
                rows = np.moveaxis(array, 1, 0).reshape(array.shape[1], -1)
                every = max(1, rows.shape[1] // _OF_A_SAMPLE)
                taken = rows[:, int(number * _GOLDEN * every) % every :: every]
                parts[value].append(np.ascontiguousarray(taken).copy())
        return {value: np.concatenate(held, axis=1) for value, held in parts.items()}

    def _factors(self, edit: _Edit, joined: Joined, rows: Mapping[str, Float32]) -> Float64:
        """Return what to divide each channel by."""
        readings: list[Reading] = []
        energies: dict[str, Float64] = {}
        for chain in reversed(joined.chains):
            value = chain.output
            channels = channels_of(edit.graph, chain.compute)
            energy, shared = np.zeros(channels), np.zeros(channels)
            power = np.square(rows[value], dtype=np.float64).mean(axis=1) if value in rows else 0.0
            for reader in joined.readers[value]:
                squares = edit.energy(reader, channels)
                squares = squares / (float((squares * power).sum()) or 1.0)
                energy += squares
                if not _is_depthwise(edit.graph, reader.node):
                    shared += squares * _NOISE[self.bits.weight_bits(reader.node, first=False)]
            for summed in joined.sums[value]:
                energy += energies[summed]
            energies[value] = energy
            if chain.activation is not None:
                top = (1 << self.bits.activation_bits(chain.compute)) - 1
                readings.append(Reading(rows[value], energy, shared, top))
        steps = choose_steps(*readings)
        factors = steps / np.exp(np.log(steps).mean())
        return np.asarray(np.clip(factors, 1 / _LARGEST, _LARGEST))


def _is_depthwise(graph: Graph, node: Node) -> bool:
    return (
        isinstance(node, (ops.Conv, ops.ConvTranspose))
        and node.groups == graph.shape(node.inputs[0])[1]
    )


class _Edit:
    """New weights, biases and bounds, collected."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.nodes: dict[str, Node] = {n.name: n for n in graph.nodes}
        self.constants = dict(graph.constants)
        self.types = dict(graph.types)
        self.gains = dict(graph.gains)

    def rescale(self, joined: Joined, factors: Float64) -> None:
        for chain in joined.writers:
            self._write(chain, 1 / factors)
        for reader in (reader for found in joined.readers.values() for reader in found):
            node = self.nodes[reader.node.name]
            weights = self._read(node, np.repeat(factors, reader.repeat))
            self.nodes[node.name] = dataclasses.replace(
                node, inputs=(node.inputs[0], weights, *node.inputs[2:])
            )

    def _write(self, chain: Chain, inverse: Float64) -> None:
        """Multiply what a layer puts out by a number for each channel."""
        graph = self.graph
        producer = self.nodes[chain.compute.name]
        axis = 1 if isinstance(producer, ops.ConvTranspose) else 0
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

    def _note(self, value: str, gains: Float64) -> None:
        """Keep what a value's channels are multiplied by, and those of what it moves into."""
        shape = self.graph.shape(value)
        self.gains[value] = tuple(np.repeat(gains, shape[1] // gains.size).tolist())
        for node in self.graph.consumers().get(value, []):
            if not isinstance(node, WEIGHTED):
                self._note(node.outputs[0], gains)

    def energy(self, reader: Reader, channels: int) -> Float64:
        """Return, by channel that is read, the sum of squared weights."""
        node = self.nodes[reader.node.name]
        weights = np.square(np.asarray(self.constants[node.inputs[1]], np.float64))
        if isinstance(node, ops.ConvTranspose):
            by_input = weights.reshape(weights.shape[0], -1).sum(axis=1)
        else:
            groups = node.groups if isinstance(node, ops.Conv) else 1
            split = weights.reshape(groups, weights.shape[0] // groups, weights.shape[1], -1)
            by_input = split.sum(axis=(1, 3)).reshape(-1)
        return np.asarray(by_input.reshape(channels, -1).sum(axis=1))

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
