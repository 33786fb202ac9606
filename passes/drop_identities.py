"""Drop nodes that change nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from lowbitc.compiler.ir import ops
from lowbitc.passes.edit import Edit

if TYPE_CHECKING:
    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.compiler.ir.node import Node
    from lowbitc.compiler.manager import PassResult


@dataclass(frozen=True, slots=True)
class DropIdentities:
    """Drop Identity, and layout changes, pads, pools and clips that keep their input as it is.

    An output that equals an input, a constant or another output is made by a copy on the CPU.
    """

    name: ClassVar[str] = "drop-identities"

    def run(self, graph: Graph, /) -> PassResult:
        """Return the graph without them; names of outputs stay."""
        edit = Edit(graph)
        for node in graph.nodes:
            now = edit.current(node)
            if now is not None and changes_nothing(edit, now):
                edit.bypass(now, now.inputs[0])
        return edit.done()


def changes_nothing(edit: Edit, node: Node) -> bool:
    """Whether a node's one output always equals its first input."""
    match node:
        case ops.Identity():
            return True
        case ops.Concat() | ops.Split():
            return len(node.inputs) == len(node.outputs) == 1
        case ops.Reshape() | ops.Flatten() | ops.Squeeze() | ops.Unsqueeze():
            return _same_shape(edit, node)
        case ops.Slice():
            return _same_shape(edit, node) and all(step == 1 for step in node.steps)
        case _:
            return _is_neutral(node)


def _is_neutral(node: Node) -> bool:
    """Whether the attributes alone say so."""
    match node:
        case ops.Transpose():
            return node.perm == tuple(range(len(node.perm)))
        case ops.Clamp():
            return node.low == -np.inf and node.high == np.inf
        case ops.Pad():
            return not any(node.pads)
        case ops.Upsample():
            return all(factor == 1 for factor in node.factors)
        case ops.MaxPool() | ops.AveragePool():
            single = all(size == 1 for size in (*node.kernel, *node.stride))
            return single and not any(node.pads)
        case _:
            return False


def _same_shape(edit: Edit, node: Node) -> bool:
    before, after = edit.tensor(node.inputs[0]), edit.tensor(node.outputs[0])
    return before.known and before.shape == after.shape
