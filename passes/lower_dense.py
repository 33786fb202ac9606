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
    from lowbitc.compiler.elements import Array
    from lowbitc.compiler.ir.graph import Graph
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
        """Return the graph with Dense nodes."""
        edit = Edit(graph)
        for node in graph.nodes:
            if isinstance(node, ops.MatMul):
                _lower_matmul(edit, node)
            elif isinstance(node, ops.Gemm):
                _lower_gemm(edit, node)
        return edit.done()


def _matrix(edit: Edit, value: str) -> Array | None:
    held = edit.constant(value)
    fits = held is not None and held.ndim == _MATRIX and edit.tensor(value).element == F32
    return held if fits else None


def _lower_matmul(edit: Edit, node: ops.MatMul) -> None:
    left, right = node.inputs
    weights = _matrix(edit, right)
    if weights is None or left in edit.constants:
        return
    name = edit.add_constant(right, np.ascontiguousarray(weights.T))
    edit.put(
        ops.Dense(name=node.name, inputs=(left, name), outputs=node.outputs, sources=node.sources)
    )


def _lower_gemm(edit: Edit, node: ops.Gemm) -> None:
    left, right, *rest = node.inputs
    weights = _matrix(edit, right)
    if weights is None or left in edit.constants:
        return
    addend = rest[0] if rest else ""
    if addend and edit.constant(addend) is None and node.beta != 1:
        return
    layout = weights if node.trans_b else weights.T
    scaled = np.asarray(layout, np.float64) * node.alpha
    inputs = [
        _transposed(edit, node, left) if node.trans_a else left,
        edit.add_constant(right, np.ascontiguousarray(scaled.astype(np.float32))),
    ]
    output = node.outputs[0]
    if addend:
        outputs = scaled.shape[0]
        held = edit.constant(addend)
        product = None if held is None else np.asarray(held, np.float64) * node.beta
        if product is not None and product.size in {1, outputs} and _is_row(product):
            bias = np.broadcast_to(product.reshape(-1), (outputs,)).astype(np.float32)
            inputs.append(edit.add_constant(addend, bias))
        else:
            other = addend
            if product is not None and node.beta != 1:
                other = edit.add_constant(addend, product.astype(np.float32))
            output = edit.add_value(f"{output}.product", edit.types[output])
            edit.put(
                ops.Add(
                    name=edit.fresh(f"{node.name}.addend"),
                    inputs=(output, other),
                    outputs=node.outputs,
                    sources=node.sources,
                ),
                beside=node,
            )
    edit.put(
        ops.Dense(name=node.name, inputs=tuple(inputs), outputs=(output,), sources=node.sources)
    )


def _is_row(array: Array) -> bool:
    return array.ndim < _MATRIX or array.shape[-1] == array.size


def _transposed(edit: Edit, node: ops.Gemm, value: str) -> str:
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
