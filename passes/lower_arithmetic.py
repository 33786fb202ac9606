"""Lower subtraction of, and division by, constants to addition and multiplication."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from lowbitc.compiler.elements import F32
from lowbitc.compiler.ir import ops
from lowbitc.passes.edit import Edit

if TYPE_CHECKING:
    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.compiler.ir.node import Node
    from lowbitc.compiler.manager import PassResult

_LEAST = 2.0**-126
"""Smallest normal float32; beyond it and its inverse, 1 / c would lose bits or overflow."""


@dataclass(frozen=True, slots=True)
class LowerArithmetic:
    """Make x − c an Add of −c, and x / c a Mul by 1 / c, where c is a float constant.

    1 / c is rounded to float32, so that a quotient may differ in its last bit; constants that are
    zero, or whose inverse float32 does not hold, stay divisors.
    """

    name: ClassVar[str] = "lower-arithmetic"

    def run(self, graph: Graph, /) -> PassResult:
        """Return the graph with Add and Mul."""
        edit = Edit(graph)
        for node in graph.nodes:
            if not isinstance(node, (ops.Sub, ops.Div)):
                continue
            value, name = node.inputs
            held = edit.constant(name)
            if held is None or value in edit.constants or edit.tensor(name).element != F32:
                continue
            wide = np.asarray(held, np.float64)
            if isinstance(node, ops.Sub):
                turned = edit.add_constant(name, (-wide).astype(np.float32))
                edit.put(_with(ops.Add, node, (value, turned)))
            elif np.all((np.abs(wide) > _LEAST) & (np.abs(wide) < 1 / _LEAST)):
                turned = edit.add_constant(name, (1 / wide).astype(np.float32))
                edit.put(_with(ops.Mul, node, (value, turned)))
        return edit.done()


def _with(operator: type[ops.Add | ops.Mul], node: Node, inputs: tuple[str, str]) -> Node:
    return operator(name=node.name, inputs=inputs, outputs=node.outputs, sources=node.sources)
