"""Read what a value is the product or the sum of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lowbitc.compiler.ir import ops

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lowbitc.compiler.ir.node import Node
    from lowbitc.passes.edit import Edit

_MOST_FACTORS = 4
_MOST_FACTORINGS = 24
_POWERS = (2, 3)


@dataclass(frozen=True, slots=True)
class Product:
    """A number times some values, which may repeat."""

    coefficient: float
    factors: tuple[str, ...]


def factorings(edit: Edit, value: str) -> Iterator[Product]:
    """Yield the ways to write a value as a product, the least expanded first.

    Expands Mul, Div by a number, and squares and cubes; a few dozen ways at most.
    """
    waiting = [Product(1.0, (value,))]
    seen = set(waiting)
    while waiting:
        product = waiting.pop(0)
        yield product
        for index, factor in enumerate(product.factors):
            inner = _expanded(edit, factor)
            if inner is None:
                continue
            factors = (*product.factors[:index], *inner.factors, *product.factors[index + 1 :])
            wider = Product(product.coefficient * inner.coefficient, factors)
            if len(factors) <= _MOST_FACTORS and wider not in seen and len(seen) < _MOST_FACTORINGS:
                seen.add(wider)
                waiting.append(wider)


def added_constant(edit: Edit, value: str) -> tuple[str, float] | None:
    """Return x and c of a value x + c where c is a number, else None."""
    node = edit.maker(value)
    if not isinstance(node, ops.Add):
        return None
    for first, second in (node.inputs, node.inputs[::-1]):
        number = _number(edit, second)
        if number is not None and first not in edit.constants:
            return first, number
    return None


def _expanded(edit: Edit, value: str) -> Product | None:
    node = edit.maker(value)
    if isinstance(node, (ops.Mul, ops.Div)):
        left, right = (_number(edit, v) for v in node.inputs)
        if right is not None and left is None and (right or isinstance(node, ops.Mul)):
            factor = right if isinstance(node, ops.Mul) else 1 / right
            return Product(factor, node.inputs[:1])
        if isinstance(node, ops.Mul) and right is None:
            return Product(1.0, node.inputs) if left is None else Product(left, node.inputs[1:])
    power = _power(edit, node)
    return Product(1.0, (node.inputs[0],) * power) if node is not None and power else None


def _power(edit: Edit, node: Node | None) -> int:
    if not isinstance(node, ops.HostOp) or (node.domain, node.op_type) != ("", "Pow"):
        return 0
    exponent = _number(edit, node.inputs[1])
    return int(exponent) if exponent in _POWERS else 0


def _number(edit: Edit, value: str) -> float | None:
    """Return a constant of one element."""
    held = edit.constant(value)
    return float(held.reshape(-1)[0]) if held is not None and held.size == 1 else None
