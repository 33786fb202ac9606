"""Make the ScaleShift behind each layer absorbable: a rising function of the layer's sum.

Behind a ReLU, batch normalisation cannot go into the weights. The output stage takes it instead,
level = clamp(a · clip(z) + b), as long as a > 0; where a channel's a is negative, its weights and
bias change sign and its clip is mirrored, z' = −z. What stands alone becomes a depthwise
convolution with 1×1 kernels.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from lowbitc.compiler.ir import ops
from lowbitc.compiler.ir.graph import Graph, fresh_name
from lowbitc.compiler.ir.types import TensorType
from lowbitc.compiler.manager import PassResult
from lowbitc.passes.chains import WEIGHTED, Chain, channels_of, clip_bounds, find_chains, on_device

if TYPE_CHECKING:
    from lowbitc.compiler.elements import Array, Float32
    from lowbitc.compiler.ir.node import Node

_SPATIAL = 3
"""Least rank of a tensor that a 1×1 convolution can read."""


@dataclass(frozen=True, slots=True)
class AbsorbShifts:
    """Turn signs so that every ScaleShift rises, and loose ones into convolutions."""

    name: ClassVar[str] = "absorb-shifts"

    def run(self, graph: Graph) -> PassResult:
        """Return an equal graph whose ScaleShifts all belong to a layer and rise."""
        edit = _Edit(graph)
        held: set[str] = set()
        for chain in find_chains(graph):
            if chain.shift is None:
                continue
            scale = np.asarray(graph.constants[chain.shift.inputs[1]], np.float32)
            if isinstance(chain.compute, WEIGHTED) and np.all(scale != 0):
                held.add(chain.shift.name)
                if np.any(scale < 0):
                    edit.mirror(chain, np.where(scale < 0, -1.0, 1.0).astype(np.float32))
            elif np.all(scale > 0):
                held.add(chain.shift.name)
        for node in on_device(graph):
            loose = isinstance(node, ops.ScaleShift) and node.name not in held
            if loose and len(graph.shape(node.inputs[0])) >= _SPATIAL:
                edit.lower(node)
        return PassResult(edit.done(), changed=bool(edit.nodes))


class _Edit:
    """Replacements of nodes and new constants, collected."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.nodes: dict[str, Node] = {}
        self.constants = dict(graph.constants)
        self.types = dict(graph.types)

    def constant(self, wanted: str, array: Array) -> str:
        name = fresh_name(wanted, self.types)
        self.constants[name] = array
        kept = self.graph.tensor(wanted).element
        self.types[name] = TensorType(array.shape, kept)
        return name

    def floats(self, name: str) -> Float32:
        return np.asarray(self.constants[name], np.float32)

    def lower(self, node: ops.ScaleShift | Node) -> None:
        x, scale, shift = node.inputs
        rank = len(self.graph.shape(x)) - 2
        weights = self.constants[scale].reshape(-1, 1, *(1,) * rank)
        w = self.constant(scale, weights)
        self.nodes[node.name] = ops.Conv(
            name=node.name,
            inputs=(x, w, shift),
            outputs=node.outputs,
            sources=node.sources,
            kernel=(1,) * rank,
            stride=(1,) * rank,
            dilation=(1,) * rank,
            pads=(0,) * (2 * rank),
            groups=weights.shape[0],
        )

    def mirror(self, chain: Chain, sign: Float32) -> None:
        """Negate the channels of a layer whose ScaleShift falls."""
        compute, shift = chain.compute, chain.shift
        if shift is None:
            return
        axis = 1 if isinstance(compute, ops.ConvTranspose) else 0
        weights = self.floats(compute.inputs[1])
        if axis == 1:
            groups = compute.groups if isinstance(compute, ops.ConvTranspose) else 1
            if groups > 1:
                self.lower(shift)
                return
        shape = [1] * weights.ndim
        shape[axis] = -1
        turned = weights * np.reshape(sign, shape)
        inputs = [compute.inputs[0], self.constant(compute.inputs[1], turned)]
        inputs += [self.constant(v, self.floats(v) * sign) for v in compute.inputs[2:]]
        self.nodes[compute.name] = dataclasses.replace(compute, inputs=tuple(inputs))
        self._bound(chain, sign)
        scale = self.constant(shift.inputs[1], self.floats(shift.inputs[1]) * sign)
        self.nodes[shift.name] = dataclasses.replace(
            shift, inputs=(shift.inputs[0], scale, shift.inputs[2])
        )

    def _bound(self, chain: Chain, sign: Float32) -> None:
        clip = chain.activation
        if clip is None:
            return
        channels = channels_of(self.graph, chain.compute)
        low, high = clip_bounds(self.graph, clip, channels)
        turned = sign < 0
        least = np.where(turned, -high, low).astype(np.float32)
        most = np.where(turned, -low, high).astype(np.float32)
        like = chain.shift.inputs[2] if chain.shift else clip.name
        self.nodes[clip.name] = ops.Bound(
            name=clip.name,
            inputs=(clip.inputs[0], self.constant(like, least), self.constant(like, most)),
            outputs=clip.outputs,
            sources=clip.sources,
        )

    def done(self) -> Graph:
        if not self.nodes:
            return self.graph
        nodes = tuple(self.nodes.get(node.name, node) for node in self.graph.nodes)
        return self.graph.replace(nodes=nodes, constants=self.constants, types=self.types).pruned()
