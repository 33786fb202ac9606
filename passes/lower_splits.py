"""Lower Split to one Slice for each piece that something reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from lowbitc.compiler.elements import F32
from lowbitc.compiler.ir import ops
from lowbitc.passes.edit import Edit

if TYPE_CHECKING:
    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.compiler.manager import PassResult


@dataclass(frozen=True, slots=True)
class LowerSplits:
    """Make a Split of float values that anything but host operators reads into Slices.

    Splits of samples (axis 0) stay.
    """

    name: ClassVar[str] = "lower-splits"

    def run(self, graph: Graph, /) -> PassResult:
        """Return the graph with Slices."""
        edit = Edit(graph)
        for node in graph.nodes:
            if isinstance(node, ops.Split) and node.axis > 0 and _feeds_layers(edit, node):
                _lower(edit, node)
        return edit.done()


def _feeds_layers(edit: Edit, node: ops.Split) -> bool:
    readers = [reader for value in node.outputs if value for reader in edit.readers(value)]
    floats = edit.tensor(node.inputs[0]).element == F32
    return floats and any(not isinstance(reader, ops.HostOp) for reader in readers)


def _lower(edit: Edit, node: ops.Split) -> None:
    start = 0
    for value, size in zip(node.outputs, node.sizes, strict=True):
        begin, start = start, start + size
        if not value or not (edit.readers(value) or value in edit.pinned):
            continue
        edit.put(
            ops.Slice(
                name=edit.fresh(f"{node.name}.{begin}"),
                inputs=node.inputs,
                outputs=(value,),
                sources=node.sources,
                starts=(begin,),
                ends=(start,),
                axes=(node.axis,),
                steps=(1,),
            ),
            beside=node,
        )
    edit.drop(node)
