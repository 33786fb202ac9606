"""Read QuantizeLinear, perhaps a Clip, and DequantizeLinear as one FakeQuantize.

What a quantized model does with its activations is then one float operator, exactly: in float32,
both round x / scale half to even and saturate. Equal quantizers of one value become one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from onnx import NodeProto

from lowbitc.compiler.diagnostics import Diagnostic, note
from lowbitc.compiler.elements import F32
from lowbitc.compiler.ir import ops
from lowbitc.passes.edit import Edit, joined_sources

if TYPE_CHECKING:
    from lowbitc.compiler.elements import Array
    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.compiler.ir.node import Node
    from lowbitc.compiler.manager import PassResult

_RANGES = {
    "uint4": (0, 15),
    "int4": (-8, 7),
    "uint8": (0, 255),
    "int8": (-128, 127),
    "uint16": (0, 65535),
    "int16": (-32768, 32767),
}
_ZERO_PLACE = 2
"""x, scale, zero point."""


@dataclass(frozen=True, slots=True)
class ReadQuantizers:
    """Replace pairs of quantize and dequantize by FakeQuantize; what is no such pair stays."""

    name: ClassVar[str] = "read-quantizers"

    def run(self, graph: Graph) -> PassResult:
        """Return the graph in which pairs with one scale for all channels are read."""
        read = _Reader(graph)
        edit = Edit(graph)
        held: dict[tuple[str, float, int, int], str] = {}
        for node in graph.nodes:
            made = read.quantizer(node)
            if made is None:
                continue
            edit.put(made)
            key = made.inputs[0], made.scale, made.low, made.high
            first = held.setdefault(key, made.outputs[0])
            if first != made.outputs[0]:
                edit.bypass(made, first)
        return edit.done(read.found)


@dataclass(frozen=True, slots=True)
class _Step:
    """The scale and zero point of a quantizing node; None where they are by channel."""

    scale: float
    zero: int


class _Reader:
    """Reads one graph."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.makers = graph.producers()
        self.found: list[Diagnostic] = []

    def quantizer(self, node: Node) -> ops.FakeQuantize | None:
        """Return the FakeQuantize that ends in a node, if one does."""
        if isinstance(node, ops.FakeQuantize):
            return node
        if not _is(node, "DequantizeLinear") or self.graph.tensor(node.outputs[0]).element != F32:
            return None
        limits = _RANGES.get(getattr(self.graph.tensor(node.inputs[0]).element, "name", ""))
        before = self.makers.get(node.inputs[0])
        inside: tuple[Node, ...] = (node,)
        if before is not None and _is(before, "Clip") and limits is not None:
            limits = self.clipped(before, limits)
            inside = (before, node)
            before = self.makers.get(before.inputs[0])
        if before is None or not _is(before, "QuantizeLinear") or limits is None:
            return None
        if self.graph.tensor(before.inputs[0]).element != F32:
            return None
        first, second = self.step(before), self.step(node)
        if first is None or second is None:
            self.found.append(
                note(
                    "LB127",
                    f"{before.name} quantizes by channel, or with a scale that is no constant",
                    sources=joined_sources(before, node),
                    hint="give an activation one constant scale; the CPU runs it until then",
                )
            )
            return None
        if first != second:
            return None
        return ops.FakeQuantize(
            name=node.name,
            inputs=before.inputs[:1],
            outputs=node.outputs,
            sources=joined_sources(before, *inside),
            scale=first.scale,
            low=limits[0] - first.zero,
            high=limits[1] - first.zero,
        )

    def clipped(self, clip: Node, limits: tuple[int, int]) -> tuple[int, int] | None:
        """Return the levels that a Clip between the two leaves."""
        bounds = [self.graph.constants.get(v) for v in clip.inputs[1:]]
        if len(bounds) != len(limits) or any(b is None or b.size != 1 for b in bounds):
            return None
        low, high = (int(np.asarray(b).item()) for b in bounds)
        return max(low, limits[0]), min(high, limits[1])

    def step(self, node: Node) -> _Step | None:
        """Return the scale and zero point of a node, None where there is not one of each."""
        scale = self.graph.constants.get(node.inputs[1])
        zero: Array | None = np.zeros((), np.int32)
        if len(node.inputs) > _ZERO_PLACE:
            zero = self.graph.constants.get(node.inputs[_ZERO_PLACE])
        single = scale is not None and zero is not None and scale.size == zero.size == 1
        if not single or scale is None or zero is None or scale.dtype != np.float32:
            return None
        return _Step(float(scale.item()), int(np.asarray(zero, np.int32).item()))


def _is(node: Node, operator: str) -> bool:
    if not isinstance(node, ops.HostOp) or node.domain or node.op_type != operator:
        return False
    attributes = {a.name: a.i for a in NodeProto.FromString(node.proto).attribute}
    return not attributes.get("block_size", 0)
