"""Lower means over all spatial axes and maxima over whole maps to the pools that the chip runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from lowbitc.compiler.ir import ops
from lowbitc.compiler.ir.types import TensorType
from lowbitc.passes.edit import Edit

if TYPE_CHECKING:
    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.compiler.manager import PassResult

_SPATIAL = 2
"""First spatial axis."""


@dataclass(frozen=True, slots=True)
class LowerPools:
    """Make ReduceMean over all spatial axes a GlobalAveragePool, GlobalMaxPool a MaxPool.

    A Reshape drops the spatial dimensions where ReduceMean did.
    """

    name: ClassVar[str] = "lower-pools"

    def run(self, graph: Graph, /) -> PassResult:
        """Return the graph with those pools."""
        edit = Edit(graph)
        for node in graph.nodes:
            if isinstance(node, ops.ReduceMean):
                _lower_mean(edit, node)
            elif isinstance(node, ops.GlobalMaxPool):
                _lower_maximum(edit, node)
        return edit.done()


def _lower_mean(edit: Edit, node: ops.ReduceMean) -> None:
    held = edit.tensor(node.inputs[0])
    rank = len(held.dims)
    if not held.known or rank <= _SPATIAL or node.axes != tuple(range(_SPATIAL, rank)):
        return
    output = node.outputs[0]
    if not node.keepdims:
        kept = held.dims[:_SPATIAL]
        pooled = TensorType((*kept, *(1,) * (rank - _SPATIAL)), held.element)
        output = edit.add_value(f"{output}.pooled", pooled)
        edit.put(
            ops.Reshape(
                name=edit.fresh(f"{node.name}.reshape"),
                inputs=(output,),
                outputs=node.outputs,
                sources=node.sources,
                shape=(0, *kept[1:]),
            ),
            beside=node,
        )
    edit.put(
        ops.GlobalAveragePool(
            name=node.name, inputs=node.inputs, outputs=(output,), sources=node.sources
        )
    )


def _lower_maximum(edit: Edit, node: ops.GlobalMaxPool) -> None:
    held = edit.tensor(node.inputs[0])
    rank = len(held.dims) - _SPATIAL
    if not held.known or rank < 1:
        return
    edit.put(
        ops.MaxPool(
            name=node.name,
            inputs=node.inputs,
            outputs=node.outputs,
            sources=node.sources,
            kernel=held.dims[_SPATIAL:],
            stride=(1,) * rank,
            dilation=(1,) * rank,
            pads=(0,) * (2 * rank),
        )
    )
