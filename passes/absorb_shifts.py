"""Make the ScaleShift behind each layer absorbable: a rising function of the layer's sum.

Behind a ReLU, batch normalisation cannot go into the weights. The output stage takes it instead,
level = clamp(a · clip(z) + b), as long as a > 0; where a channel's a is negative, its weights and
bias change sign and its clip is mirrored, z' = −z. What stands alone becomes a depthwise
convolution with kernels of size 1, between Reshapes where the value is no line or plane.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from lowbitc.compiler.elements import F32
from lowbitc.compiler.ir import ops
from lowbitc.compiler.ir.graph import Graph, fresh_name
from lowbitc.compiler.ir.groups import WEIGHTED
from lowbitc.compiler.ir.types import TensorType
from lowbitc.compiler.manager import PassResult
from lowbitc.passes.chains import Chain, channels_of, clip_bounds, find_chains, on_device

if TYPE_CHECKING:
    from lowbitc.compiler.elements import Array, Float32
    from lowbitc.compiler.ir.node import Node

_SPATIAL = (3, 4)
"""Ranks of tensors that a convolution can read."""


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
            if isinstance(node, ops.ScaleShift) and node.name not in held:
                edit.lower(node)
        return PassResult(edit.done(), changed=bool(edit.nodes))


class _Edit:
    """Replacements of nodes and new constants, collected."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.nodes: dict[str, tuple[Node, ...]] = {}
        self.names = {node.name for node in graph.nodes}
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

    def lower(self, node: ops.ScaleShift) -> None:
        """Make a depthwise convolution of a ScaleShift that no layer takes."""
        x, scale, shift = node.inputs
        shape = self.graph.shape(x)
        line = len(shape) not in _SPATIAL
        seen = (*shape[:2], math.prod(shape[2:])) if line else shape
        rank = len(seen) - 2
        weights = self.constants[scale].reshape(-1, 1, *(1,) * rank)
        convolution = ops.Conv(
            name=node.name,
            inputs=(
                self.value(f"{x}.line", seen) if line else x,
                self.constant(scale, weights),
                shift,
            ),
            outputs=(self.value(f"{node.outputs[0]}.line", seen),) if line else node.outputs,
            sources=node.sources,
            kernel=(1,) * rank,
            stride=(1,) * rank,
            dilation=(1,) * rank,
            pads=(0,) * (2 * rank),
            groups=weights.shape[0],
        )
        self.nodes[node.name] = (convolution,)
        if line:
            before = self.reshape(node, x, convolution.inputs[0], (0, *seen[1:]))
            after = self.reshape(node, convolution.outputs[0], node.outputs[0], (0, *shape[1:]))
            self.nodes[node.name] = (before, convolution, after)

    def value(self, wanted: str, shape: tuple[int, ...]) -> str:
        """Declare a new value of floats."""
        name = fresh_name(wanted, self.types)
        self.types[name] = TensorType(shape, F32)
        return name

    def reshape(self, node: Node, x: str, y: str, shape: tuple[int, ...]) -> ops.Reshape:
        """Return a Reshape beside a node."""
        name = fresh_name(f"{node.name}.reshape", self.names)
        self.names.add(name)
        return ops.Reshape(name=name, inputs=(x,), outputs=(y,), sources=node.sources, shape=shape)

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
        self.nodes[compute.name] = (dataclasses.replace(compute, inputs=tuple(inputs)),)
        self._bound(chain, sign)
        scale = self.constant(shift.inputs[1], self.floats(shift.inputs[1]) * sign)
        rising = dataclasses.replace(shift, inputs=(shift.inputs[0], scale, shift.inputs[2]))
        self.nodes[shift.name] = (rising,)

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
        bound = ops.Bound(
            name=clip.name,
            inputs=(clip.inputs[0], self.constant(like, least), self.constant(like, most)),
            outputs=clip.outputs,
            sources=clip.sources,
        )
        self.nodes[clip.name] = (bound,)

    def done(self) -> Graph:
        if not self.nodes:
            return self.graph
        nodes = tuple(n for node in self.graph.nodes for n in self.nodes.get(node.name, (node,)))
        return self.graph.replace(nodes=nodes, constants=self.constants, types=self.types).pruned()
