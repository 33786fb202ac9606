"""Lower Gemm, and MatMul by constant weights, to Dense."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from lowbitc.compiler.elements import F32
from lowbitc.compiler.ir import ops
from lowbitc.compiler.ir.types import TensorType
from lowbitc.passes.edit import Edit

if TYPE_CHECKING:
    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.compiler.ir.node import Node
    from lowbitc.compiler.manager import PassResult

_MATRIX = 2


@dataclass(frozen=True, slots=True)
class LowerDense:
    """Make Gemm and MatMul whose right side is a constant matrix a Dense with w in layout O,K.

    alpha, beta and the transposition go into the constants; ``trans_a`` becomes a Transpose; a
    Gemm's addend that is no bias [O] becomes an Add. Other products stay as they are.
    """

    name: ClassVar[str] = "lower-dense"

    def run(self, graph: Graph, /) -> PassResult:
        """Return the graph with Dense nodes; those that shared weights still do."""
        lowering = _Lowering(Edit(graph))
        for node in graph.nodes:
            if isinstance(node, ops.MatMul):
                lowering.matmul(node)
            elif isinstance(node, ops.Gemm):
                lowering.gemm(node)
        return lowering.edit.done()


class _Lowering:
    """The edit, and the constants that were made so far by what they were made from."""

    def __init__(self, edit: Edit) -> None:
        self.edit = edit
        self._made: dict[tuple[str, bool, float, tuple[int, ...]], str] = {}

    def matmul(self, node: ops.MatMul) -> None:
        left, right = node.inputs
        if self._is_matrix(right) and left not in self.edit.constants:
            self._put(node, left, self._derived(right, turned=True))

    def gemm(self, node: ops.Gemm) -> None:
        edit = self.edit
        left, right, *rest = node.inputs
        addend = rest[0] if rest else ""
        held = edit.constant(addend)
        if not self._is_matrix(right) or left in edit.constants:
            return
        if addend and held is None and node.beta != 1:
            return
        if node.trans_a:
            left = self._transposed(node, left)
        weights = self._derived(right, turned=not node.trans_b, factor=node.alpha)
        outputs = edit.constants[weights].shape[:1]
        if held is None and addend:
            self._put_with_addend(node, left, weights, addend)
        elif held is None:
            self._put(node, left, weights)
        elif held.size in {1, *outputs} and held.shape[-1:] in {(), (held.size,)}:
            bias = self._derived(addend, factor=node.beta, shape=outputs)
            self._put(node, left, weights, bias)
        else:
            other = self._derived(addend, factor=node.beta)
            self._put_with_addend(node, left, weights, other)

    def _is_matrix(self, value: str) -> bool:
        held = self.edit.constant(value)
        floats = self.edit.tensor(value).element == F32
        return held is not None and held.ndim == _MATRIX and floats

    def _derived(
        self,
        name: str,
        *,
        turned: bool = False,
        factor: float = 1.0,
        shape: tuple[int, ...] = (),
    ) -> str:
        """Return a constant, transposed or multiplied or given a shape; each is made once."""
        array = self.edit.constants[name]
        shape = shape or (array.shape[::-1] if turned else array.shape)
        if factor == 1 and not turned and shape == array.shape:
            return name
        key = (name, turned, factor, shape)
        if key not in self._made:
            wide = np.asarray(array.T if turned else array, np.float64) * factor
            wide = wide if wide.shape == shape else np.broadcast_to(wide.reshape(-1), shape)
            made = np.ascontiguousarray(wide, np.float32)
            self._made[key] = self.edit.add_constant(name, made)
        return self._made[key]

    def _put(self, node: Node, *inputs: str, output: str = "") -> None:
        self.edit.put(
            ops.Dense(
                name=node.name,
                inputs=inputs,
                outputs=(output or node.outputs[0],),
                sources=node.sources,
            )
        )

    def _put_with_addend(self, node: ops.Gemm, left: str, weights: str, addend: str) -> None:
        edit, output = self.edit, node.outputs[0]
        product = edit.add_value(f"{output}.product", edit.types[output])
        edit.put(
            ops.Add(
                name=edit.fresh(f"{node.name}.addend"),
                inputs=(product, addend),
                outputs=(output,),
                sources=node.sources,
            ),
            beside=node,
        )
        self._put(node, left, weights, output=product)

    def _transposed(self, node: ops.Gemm, value: str) -> str:
        edit = self.edit
        shape = edit.shape(value)
        turned = TensorType(None if shape is None else shape[::-1], F32)
        output = edit.add_value(f"{value}.transposed", turned)
        edit.put(
            ops.Transpose(
                name=edit.fresh(f"{node.name}.transpose"),
                inputs=(value,),
                outputs=(output,),
                sources=node.sources,
                perm=(1, 0),
            ),
            beside=node,
        )
        return output
