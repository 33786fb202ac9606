"""Sink Transposes that move frames below Reshapes and layers, so that the layers reach the chip.

Networks with the sequence first, [T, N, C], turn their features around before a layer. The chip
counts frames in the first dimension, so it could not run the Transpose, nor what follows it in one
launch; the layer does not care in which order its rows stand.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from lowbitc.compiler.ir import ops
from lowbitc.compiler.ir.types import TensorType
from lowbitc.passes.edit import Edit

if TYPE_CHECKING:
    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.compiler.manager import PassResult


@dataclass(frozen=True, slots=True)
class SinkTransposes:
    """Move a Transpose that touches the first dimension behind the Reshape or Dense that reads it.

    Before a Dense, a Transpose that leaves the first dimension alone brings its features last. A
    Reshape is passed where it joins or cuts dimensions that stand together on both sides.
    """

    name: ClassVar[str] = "sink-transposes"

    def run(self, graph: Graph, /) -> PassResult:
        """Return the graph with such Transposes further down."""
        edit = Edit(graph)
        for found in graph.nodes:
            node = edit.current(found)
            if not isinstance(node, (ops.Dense, ops.Reshape)):
                continue
            above = edit.maker(node.inputs[0])
            if not isinstance(above, ops.Transpose) or above.perm[0] == 0:
                continue
            if not edit.tensor(above.inputs[0]).known:
                continue
            if isinstance(node, ops.Dense):
                _below_dense(edit, above, node)
            else:
                _below_reshape(edit, above, node)
        return edit.done()


def _transpose(
    edit: Edit, like: ops.Transpose, value: str, perm: tuple[int, ...], output: str = ""
) -> str:
    """Put a Transpose of ``value`` beside another; return its output, a new one without a name."""
    if perm == tuple(range(len(perm))) and not output:
        return value
    held = edit.tensor(value)
    if not output:
        turned = TensorType(tuple(held.dims[axis] for axis in perm), held.element)
        output = edit.add_value(f"{value}.turned", turned)
    edit.put(
        ops.Transpose(
            name=edit.fresh(like.name),
            inputs=(value,),
            outputs=(output,),
            sources=like.sources,
            perm=perm,
        ),
        beside=like,
    )
    return output


def _below_dense(edit: Edit, above: ops.Transpose, node: ops.Dense) -> None:
    features = above.perm[-1]
    if features == 0:
        return
    rows = [axis for axis in range(len(above.perm)) if axis != features]
    source, output = above.inputs[0], node.outputs[0]
    turned = _transpose(edit, above, source, (*rows, features))
    held = edit.tensor(turned)
    width = edit.tensor(output).dims[-1]
    made = edit.add_value(f"{output}.rows", TensorType((*held.dims[:-1], width), held.element))
    edit.put(dataclasses.replace(node, inputs=(turned, *node.inputs[1:]), outputs=(made,)))
    _transpose(edit, above, made, (*map(rows.index, above.perm[:-1]), len(rows)), output)


def _below_reshape(edit: Edit, above: ops.Transpose, node: ops.Reshape) -> None:
    before, after = edit.tensor(node.inputs[0]), edit.tensor(node.outputs[0])
    source = edit.tensor(above.inputs[0])
    if not after.known or 0 in before.dims or 0 in after.dims:
        return
    groups = _groups(before.dims, after.dims)
    if groups is None:
        return
    blocks: list[tuple[tuple[int, ...], tuple[int, ...]]] = []
    for places, wide in groups:
        axes = tuple(above.perm[place] for place in places)
        if any(b != a + 1 for a, b in itertools.pairwise(axes)):
            return
        blocks.append((axes, wide))
    if not all(axes for axes, _ in blocks):
        return
    order = sorted(range(len(blocks)), key=lambda i: blocks[i][0])
    dims = [d for i in order for d in (after.dims[axis] for axis in blocks[i][1])]
    if dims[0] != source.dims[0]:
        return
    reshaped = edit.add_value(f"{node.outputs[0]}.reshaped", TensorType(tuple(dims), after.element))
    place_of: dict[int, int] = {}
    for i in order:
        for axis in blocks[i][1]:
            place_of[axis] = len(place_of)
    perm = tuple(place_of[axis] for axis in range(len(after.dims)))
    edit.put(
        dataclasses.replace(node, inputs=above.inputs, outputs=(reshaped,), shape=(0, *dims[1:]))
    )
    _transpose(edit, above, reshaped, perm, node.outputs[0])


def _groups(
    before: tuple[int, ...], after: tuple[int, ...]
) -> list[tuple[tuple[int, ...], tuple[int, ...]]] | None:
    """Match runs of dimensions of the same product: the shortest, in order; None where odd."""
    found: list[tuple[tuple[int, ...], tuple[int, ...]]] = []
    i = j = 0
    while i < len(before) and j < len(after):
        first, second = i + 1, j + 1
        while math.prod(before[i:first]) != math.prod(after[j:second]):
            if math.prod(before[i:first]) < math.prod(after[j:second]):
                first += 1
            else:
                second += 1
            if first > len(before) or second > len(after):
                return None
        found.append((tuple(range(i, first)), tuple(range(j, second))))
        i, j = first, second
    if not found or math.prod(before[i:]) != 1 or math.prod(after[j:]) != 1:
        return None
    places, wide = found[-1]
    found[-1] = (places + tuple(range(i, len(before))), wide + tuple(range(j, len(after))))
    return found
