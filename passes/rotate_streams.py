"""Turn linear streams into a basis in which few levels serve the weights around them better.

Where only linear layers write and read a value, and Adds sum it, as in a residual stream of linear
bottlenecks, it may be kept in any basis: writers get R W, readers W Rᵀ, with R orthogonal, and in
float nothing changes (QuaRot, arXiv 2404.00456). In a random basis weights come near a normal
distribution: without the few large ones that coarse levels have to reach for. R is a cosine
transform of channels with random signs. Only streams beside layers of 1- or 2-bit weights turn.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from lowbitc.compiler.bits import Bits
from lowbitc.compiler.ir import ops
from lowbitc.compiler.ir.first_layers import first_layers
from lowbitc.compiler.ir.graph import Graph, fresh_name
from lowbitc.compiler.ir.types import TensorType
from lowbitc.compiler.manager import PassResult
from lowbitc.compiler.statistics.linear_systems import multiply
from lowbitc.passes.chains import Chain, by_output, find_chains

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from lowbitc.compiler.elements import Array, Float64

_FEW = 2


@dataclass(frozen=True, slots=True)
class Stream:
    """Values that share a basis, the layers that write them and those that read them."""

    values: frozenset[str]
    writers: tuple[ops.Conv, ...]
    readers: tuple[ops.Conv, ...]


@dataclass(frozen=True, slots=True)
class RotateStreams:
    """Rotate every stream that touches a layer of few weight bits."""

    name: ClassVar[str] = "rotate-streams"
    bits: Bits = Bits()

    def run(self, graph: Graph) -> PassResult:
        """Return an equal float graph, whose ``rotated`` names the values of another basis."""
        first = first_layers(graph)
        streams = [
            stream
            for stream in find_streams(graph)
            if any(
                self.bits.weight_bits(layer, first=layer.name in first) <= _FEW
                for layer in (*stream.writers, *stream.readers)
            )
        ]
        if not streams:
            return PassResult(graph, changed=False)
        return PassResult(_rotate(graph, streams), changed=True)


def rotate_again(graph: Graph, values: Iterable[str]) -> Graph:
    """Rotate the streams of which all values are named, as ``RotateStreams`` did."""
    named = frozenset(values)
    return _rotate(graph, [stream for stream in find_streams(graph) if stream.values <= named])


def find_streams(graph: Graph) -> Iterator[Stream]:
    """Yield the streams of a float graph in order."""
    chains = by_output(find_chains(graph))
    done: set[str] = set()
    for value, chain in chains.items():
        if value in done or not _is_linear(chain):
            continue
        values, stream = _spread(graph, value, chains)
        done |= values
        if stream is not None:
            yield stream


def _is_linear(chain: Chain) -> bool:
    node = chain.compute
    return len(chain.nodes) == 1 and isinstance(node, ops.Conv) and node.groups == 1


def _spread(
    graph: Graph, start: str, chains: Mapping[str, Chain]
) -> tuple[set[str], Stream | None]:
    """Return all values whose basis must be that of ``start``; no stream where one cannot turn."""
    consumers, computed = graph.consumers(), {c.compute.name for c in chains.values()}
    values: set[str] = set()
    writers: dict[str, ops.Conv] = {}
    readers: dict[str, ops.Conv] = {}
    ahead, turns = [start], True
    while ahead:
        value = ahead.pop()
        if value in values:
            continue
        values.add(value)
        chain = chains.get(value)
        maker = None if chain is None else chain.compute
        turns &= value not in graph.outputs and chain is not None and len(chain.nodes) == 1
        if isinstance(maker, ops.Add):
            turns &= all(graph.shape(v) == graph.shape(value) for v in maker.inputs)
            ahead += maker.inputs
        elif isinstance(maker, ops.Conv) and maker.groups == 1:
            writers[maker.name] = maker
        else:
            turns = False
        for node in consumers.get(value, []):
            if isinstance(node, ops.Add) and node.name in computed:
                ahead.append(node.outputs[0])
            elif isinstance(node, ops.Conv) and node.groups == 1 and node.name in computed:
                readers[node.name] = node
            else:
                turns = False
    turns &= bool(readers) and all(
        graph.tensor(node.inputs[1]).levels is None
        for node in (*writers.values(), *readers.values())
    )
    stream = Stream(frozenset(values), tuple(writers.values()), tuple(readers.values()))
    return values, stream if turns else None


def _rotate(graph: Graph, streams: Iterable[Stream]) -> Graph:
    constants, types = dict(graph.constants), dict(graph.types)
    nodes = {node.name: node for node in graph.nodes}
    rotated: list[str] = []

    def put(value: str, array: Float64) -> str:
        name = fresh_name(f"{value}.rotated", types)
        constants[name] = array.astype(np.float32)
        types[name] = TensorType(array.shape, graph.tensor(value).element)
        return name

    for stream in streams:
        rotated += sorted(stream.values)
        signs = stream_signs(graph.shape(min(stream.values))[1])
        for writer in stream.writers:
            node = nodes[writer.name]
            turned = [put(v, _turned(constants[v], signs, 0)) for v in node.inputs[1:] if v]
            nodes[node.name] = dataclasses.replace(node, inputs=(node.inputs[0], *turned))
        for reader in stream.readers:
            node = nodes[reader.name]
            name = put(node.inputs[1], _turned(constants[node.inputs[1]], signs, 1))
            inputs = (node.inputs[0], name, *node.inputs[2:])
            nodes[node.name] = dataclasses.replace(node, inputs=inputs)
    whole = tuple(nodes[node.name] for node in graph.nodes)
    after = graph.replace(
        nodes=whole, constants=constants, types=types, rotated=(*graph.rotated, *rotated)
    )
    return after.pruned()


def _turned(array: Array, signs: Float64, axis: int) -> Float64:
    """Return R times a tensor along an axis: for weights of readers, that is W Rᵀ."""
    moved = np.moveaxis(np.asarray(array, np.float64), axis, 0)
    rows = np.ascontiguousarray(moved).reshape(1, len(moved), -1)
    found = multiply(rotation(signs)[np.newaxis], rows).reshape(moved.shape)
    return np.ascontiguousarray(np.moveaxis(found, 0, axis))


def stream_signs(channels: int) -> Float64:
    """Return the signs [C] that streams of so many channels are rotated with."""
    drawn = np.random.default_rng(channels).integers(0, 2, channels)
    return np.where(drawn == 1, 1.0, -1.0)


def rotation(signs: Float64) -> Float64:
    """Return R [C, C]: signs, then the cosine transform of kind IV, whose entries are all alike."""
    steps = np.arange(len(signs)) + 0.5
    waves: Float64 = np.cos(np.pi / len(signs) * np.outer(steps, steps))
    return waves * signs * math.sqrt(2.0 / len(signs))
