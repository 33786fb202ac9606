"""Merge layers that multiply slices of one value by the same weights into one over all of it.

Unrolled recurrences do so: W·x_t step by step, where one layer over all steps does the same work,
holds its weights once, and needs one launch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from lowbitc.compiler.ir import ops
from lowbitc.compiler.ir.types import TensorType
from lowbitc.passes.edit import Edit, joined_sources

if TYPE_CHECKING:
    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.compiler.ir.node import Node
    from lowbitc.compiler.manager import PassResult

_FEW = 2


@dataclass(frozen=True, slots=True)
class _Step:
    """A Dense of a slice: the Slice, and the Reshape between them where there is one."""

    dense: ops.Dense
    cut: ops.Slice
    reshape: ops.Reshape | None


@dataclass(frozen=True, slots=True)
class MergeDense:
    """Make Dense nodes of the same weights, on slices of one value, one Dense and slices of it.

    The slices go along one dimension that is not the last, and hold at most as much together as
    the value; a Reshape between may drop that dimension.
    """

    name: ClassVar[str] = "merge-dense"

    def run(self, graph: Graph, /) -> PassResult:
        """Return the graph with one Dense in place of several."""
        edit = Edit(graph)
        groups: dict[tuple[str, tuple[int, ...], tuple[str, ...]], list[_Step]] = {}
        for node in graph.nodes:
            step = _step(edit, node)
            if step is not None:
                key = (step.cut.inputs[0], step.cut.axes, step.dense.inputs[1:])
                groups.setdefault(key, []).append(step)
        for (value, axes, _), steps in groups.items():
            size = edit.tensor(value).dims[axes[0]]
            taken = sum(s.cut.ends[0] - s.cut.starts[0] for s in steps)
            if len(steps) >= _FEW and taken <= size:
                _merge(edit, value, steps)
        return edit.done()


def _step(edit: Edit, node: Node) -> _Step | None:
    if not isinstance(node, ops.Dense):
        return None
    above, reshape = edit.maker(node.inputs[0]), None
    if isinstance(above, ops.Reshape):
        reshape, above = above, edit.maker(above.inputs[0])
    if not isinstance(above, ops.Slice) or len(above.axes) != 1 or above.steps != (1,):
        return None
    axis, whole = above.axes[0], edit.tensor(above.inputs[0])
    if not whole.known or not 0 <= axis < len(whole.dims) - 1 or above.inputs[0] in edit.constants:
        return None
    if not 0 <= above.starts[0] < above.ends[0] <= whole.dims[axis]:
        return None
    if reshape is not None:
        kept = edit.tensor(above.outputs[0]).dims
        dropped = (*kept[:axis], *kept[axis + 1 :])
        if kept[axis] != 1 or edit.tensor(reshape.outputs[0]).dims != dropped:
            return None
    return _Step(node, above, reshape)


def _merge(edit: Edit, value: str, steps: list[_Step]) -> None:
    first = steps[0].dense
    held, width = edit.tensor(value), edit.tensor(first.outputs[0]).dims[-1]
    dims = (*held.dims[:-1], width)
    whole = edit.add_value(f"{first.outputs[0]}.all", TensorType(dims, held.element))
    for step in steps:
        _put_slice(edit, whole, step, dims)
    edit.put(
        ops.Dense(
            name=first.name,
            inputs=(value, *first.inputs[1:]),
            outputs=(whole,),
            sources=joined_sources(*(s.dense for s in steps)),
        ),
        beside=first,
    )


def _put_slice(edit: Edit, whole: str, step: _Step, dims: tuple[int, ...]) -> None:
    """Make a step's product from that of all steps."""
    dense, cut = step.dense, step.cut
    axis, output = cut.axes[0], dense.outputs[0]
    edit.drop(dense)
    made = output
    if step.reshape is not None:
        kept = (*dims[:axis], 1, *dims[axis + 1 :])
        made = edit.add_value(f"{output}.kept", TensorType(kept, edit.tensor(whole).element))
    edit.put(
        ops.Slice(
            name=edit.fresh(f"{dense.name}.slice"),
            inputs=(whole,),
            outputs=(made,),
            sources=dense.sources,
            starts=cut.starts,
            ends=cut.ends,
            axes=cut.axes,
            steps=cut.steps,
        ),
        beside=cut,
    )
    if step.reshape is not None:
        edit.put(
            ops.Reshape(
                name=edit.fresh(f"{dense.name}.reshape"),
                inputs=(made,),
                outputs=(output,),
                sources=dense.sources,
                shape=edit.tensor(output).dims,
            ),
            beside=cut,
        )
