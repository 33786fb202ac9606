"""Merge zero pads into the convolutions and pools that follow them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from lowbitc.compiler.ir import ops
from lowbitc.compiler.ir.find_signs import never_negative
from lowbitc.passes.edit import Edit, joined_sources

if TYPE_CHECKING:
    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.compiler.ir.node import Node
    from lowbitc.compiler.manager import PassResult

    Pads = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class MergePads:
    """Let layers that pad with zeros themselves do what a Pad before them does.

    A convolution always can, asymmetric pads among them; an AveragePool where its own padding, if
    any, counts in the mean; a MaxPool where the input is never negative, since there a zero wins
    only over zeros. Readers that cannot keep the Pad, as does a Pad of samples, of channels, of
    another value or mode, or one that crops.
    """

    name: ClassVar[str] = "merge-pads"

    def run(self, graph: Graph, /) -> PassResult:
        """Return the graph with as few pads as can be."""
        edit = Edit(graph)
        for node in reversed(graph.nodes):
            pad = edit.current(node)
            if not isinstance(pad, ops.Pad):
                continue
            pads = spatial_pads(pad)
            for reader in edit.readers(pad.outputs[0]) if pads else ():
                merged = _merged(edit, pad, pads, reader)
                if merged is not None:
                    edit.put(merged)
        return edit.done()


def spatial_pads(node: ops.Pad) -> Pads:
    """Return begins and ends of the axes from 2 on, () where the Pad does anything else."""
    rank = len(node.pads) // 2
    begins, ends = node.pads[:rank], node.pads[rank:]
    plain = node.mode == "constant" and node.value == 0 and min(node.pads, default=0) >= 0
    return begins[2:] + ends[2:] if plain and not any(begins[:2] + ends[:2]) else ()


def _merged(edit: Edit, pad: ops.Pad, pads: Pads, reader: Node) -> Node | None:
    if reader.inputs[0] != pad.outputs[0] or reader.inputs.count(pad.outputs[0]) > 1:
        return None
    inputs = (pad.inputs[0], *reader.inputs[1:])
    sources = joined_sources(pad, reader)
    if isinstance(reader, ops.Conv):
        total = _sum(pads, reader.pads)
        return dataclasses.replace(reader, inputs=inputs, pads=total, sources=sources)
    if isinstance(reader, ops.AveragePool):
        total = _sum(pads, reader.pads)
        counts = reader.count_padding or not any(reader.pads)
        if counts and _inside(edit, reader, total):
            return dataclasses.replace(
                reader, inputs=inputs, pads=total, count_padding=True, sources=sources
            )
    if isinstance(reader, ops.MaxPool) and _never_negative(edit, pad.inputs[0]):
        total = _sum(pads, reader.pads)
        if _inside(edit, reader, total):
            return dataclasses.replace(reader, inputs=inputs, pads=total, sources=sources)
    return None


def _never_negative(edit: Edit, value: str) -> bool:
    return never_negative(value, edit.maker, edit.constant)


def _sum(first: Pads, second: Pads) -> Pads:
    return tuple(a + b for a, b in zip(first, second, strict=True))


def _inside(edit: Edit, node: ops.MaxPool | ops.AveragePool, pads: Pads) -> bool:
    """Whether every window of a pool would touch the input, and none would leave the padding."""
    rank = len(node.kernel)
    touches = all(pad < size for pad, size in zip(pads, node.kernel * 2, strict=True))
    if not touches or any(d != 1 for d in node.dilation):
        return False
    padded = edit.tensor(node.inputs[0])
    if not node.ceil_mode:
        return True
    if not padded.known:
        return False
    sizes = padded.dims[2:]
    return all(
        (sizes[i] + node.pads[i] + node.pads[i + rank] - node.kernel[i]) % node.stride[i] == 0
        for i in range(rank)
    )
