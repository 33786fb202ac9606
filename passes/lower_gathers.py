"""Lower Gather of one index to a Slice and a Reshape, which layers can be moved past."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import onnx

from lowbitc.compiler.elements import F32
from lowbitc.compiler.ir import ops
from lowbitc.compiler.ir.types import TensorType
from lowbitc.passes.edit import Edit

if TYPE_CHECKING:
    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.compiler.ir.node import Node
    from lowbitc.compiler.manager import PassResult

_BOUNDS = 4
"""Starts, ends, axes and steps of a Slice."""


@dataclass(frozen=True, slots=True)
class LowerGathers:
    """Make x[…, i, …], spelled as a Gather of float values by a constant number, a Slice.

    A step of an unrolled recurrence is read so, and the first token of a sentence. Where x is a
    value reversed along that dimension, as for a recurrence that goes backwards, the place in the
    value itself is read.
    """

    name: ClassVar[str] = "lower-gathers"

    def run(self, graph: Graph, /) -> PassResult:
        """Return the graph with Slices, and Reshapes that drop the dimension."""
        edit = Edit(graph)
        for node in graph.nodes:
            found = _single_index(edit, node)
            if found is not None:
                _lower(edit, node, found)
        return edit.done()


@dataclass(frozen=True, slots=True)
class _Place:
    """One place along a dimension of a value."""

    value: str
    axis: int
    index: int


def _single_index(edit: Edit, node: Node) -> _Place | None:
    """Return what a Gather of one number reads, else None."""
    if not isinstance(node, ops.HostOp) or (node.domain, node.op_type) != ("", "Gather"):
        return None
    x, index = edit.tensor(node.inputs[0]), edit.constant(node.inputs[1])
    made = edit.tensor(node.outputs[0])
    if not x.known or not made.known or x.element != F32 or node.inputs[0] in edit.constants:
        return None
    if index is None or index.ndim or not made.dims:
        return None
    proto = onnx.NodeProto.FromString(node.proto)
    axis = next((int(a.i) for a in proto.attribute if a.name == "axis"), 0) % len(x.dims)
    size = x.dims[axis]
    place = int(index) % size
    above = edit.maker(node.inputs[0])
    if above is not None and _reverses(edit, above, axis, size):
        return _Place(above.inputs[0], axis, size - 1 - place)
    return _Place(node.inputs[0], axis, place)


def _reverses(edit: Edit, node: Node, axis: int, size: int) -> bool:
    """Whether a node is a Slice of ONNX that reverses one dimension, and does no more."""
    if not isinstance(node, ops.HostOp) or (node.domain, node.op_type) != ("", "Slice"):
        return False
    bounds = [edit.constant(v) for v in node.inputs[1:]]
    if len(bounds) != _BOUNDS or any(b is None or b.size != 1 for b in bounds):
        return False
    start, end, along, step = (int(b.item()) for b in bounds if b is not None)
    rank = len(edit.tensor(node.outputs[0]).dims)
    places = range(*slice(start, end, step).indices(size))
    return along % rank == axis and places == range(size - 1, -1, -1)


def _lower(edit: Edit, node: Node, place: _Place) -> None:
    x, axis = edit.tensor(place.value), place.axis
    dims = (*x.dims[:axis], 1, *x.dims[axis + 1 :])
    cut = edit.add_value(f"{node.outputs[0]}.kept", TensorType(dims, F32))
    edit.put(
        ops.Slice(
            name=edit.fresh(f"{node.name}.slice"),
            inputs=(place.value,),
            outputs=(cut,),
            sources=node.sources,
            starts=(place.index,),
            ends=(place.index + 1,),
            axes=(axis,),
            steps=(1,),
        ),
        beside=node,
    )
    edit.put(
        ops.Reshape(
            name=node.name,
            inputs=(cut,),
            outputs=node.outputs,
            sources=node.sources,
            shape=edit.tensor(node.outputs[0]).dims,
        )
    )
