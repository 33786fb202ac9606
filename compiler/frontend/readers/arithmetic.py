"""Read arithmetic and matrix products."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from lowbitc.compiler.frontend.reading import Host, reader
from lowbitc.compiler.ir import ops

if TYPE_CHECKING:
    from lowbitc.compiler.frontend.reading import Reading
    from lowbitc.compiler.ir.node import Node

_PAIR = 2
_WITH_C = 3


@reader("Add", 7, 13, 14)
def read_add(reading: Reading) -> Node | Host:
    """Read a + b."""
    return ops.Add(**reading.fields(_PAIR))


@reader("Sub", 7, 13, 14)
def read_sub(reading: Reading) -> Node | Host:
    """Read a difference."""
    return ops.Sub(**reading.fields(_PAIR))


@reader("Mul", 7, 13, 14)
def read_mul(reading: Reading) -> Node | Host:
    """Read a · b."""
    return ops.Mul(**reading.fields(_PAIR))


@reader("Div", 7, 13, 14)
def read_div(reading: Reading) -> Node | Host:
    """Read a / b."""
    return ops.Div(**reading.fields(_PAIR))


@reader("Sum", 6, 8, 13)
def read_sum(reading: Reading) -> Node | Host:
    """Read a sum of one or two tensors."""
    if len(reading.inputs) > _PAIR:
        return Host(f"it adds {len(reading.inputs)} tensors")
    kind = ops.Add if len(reading.inputs) == _PAIR else ops.Identity
    return kind(**reading.fields(_PAIR))


@reader("Max", 6, 8, 12, 13)
@reader("Min", 6, 8, 12, 13)
def read_bound(reading: Reading) -> Node | Host:
    """Read Max or Min of a tensor and one constant number as a clamp."""
    if len(reading.inputs) == _PAIR:
        for data, place in ((0, 1), (1, 0)):
            found = reading.constant(place)
            if found is not None and found.size == 1 and reading.shape(data) == reading.made():
                bound = float(found.item())
                lower = reading.op_type == "Max"
                fields = reading.fields()
                fields["inputs"] = (reading.inputs[data],)
                return ops.Clamp(
                    **fields,
                    low=bound if lower else -math.inf,
                    high=math.inf if lower else bound,
                )
    return Host("it compares tensors, not a tensor and a constant number")


@reader("MatMul", 1, 9, 13)
def read_matmul(reading: Reading) -> Node | Host:
    """Read a matrix product."""
    return ops.MatMul(**reading.fields(_PAIR))


@reader("Gemm", 7, 9, 11, 13)
def read_gemm(reading: Reading) -> Node | Host:
    """Read alpha · a' · b' + beta · c."""
    held = reading.attributes
    return ops.Gemm(
        **reading.fields(_WITH_C if reading.has(_PAIR) else _PAIR),
        alpha=held.number("alpha", 1.0),
        beta=held.number("beta", 1.0),
        trans_a=bool(held.integer("transA", 0)),
        trans_b=bool(held.integer("transB", 0)),
    )


@reader("Pow", 7, 12, 13, 15)
def read_pow(reading: Reading) -> Node | Host:
    """Read a square as a product."""
    exponent = reading.constant(1)
    if exponent is None or exponent.size != 1 or exponent.item() != _PAIR:
        return Host("it is no square")
    fields = reading.fields()
    fields["inputs"] = reading.inputs[:1] * _PAIR
    return ops.Mul(**fields)
