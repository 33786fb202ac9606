"""Fuse activations that exporters spell out in products and sums: SiLU, hard-swish and GELU."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from lowbitc.compiler.elements import F32
from lowbitc.compiler.ir import ops
from lowbitc.passes.edit import Edit, joined_sources
from lowbitc.passes.read_products import Product, added_constant, factorings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.compiler.ir.node import Node
    from lowbitc.compiler.manager import PassResult

_TOLERANCE = 1e-4
"""Relative; exporters write constants in float32, some with six digits."""
_CUBIC = 0.044715
"""Of the tanh approximation: Φ(x) ≈ (1 + tanh(√(2/π) · (x + 0.044715 · x³))) / 2."""


@dataclass(frozen=True, slots=True)
class FuseActivations:
    """Find x · sigmoid(x), x · clamp(x + 3, 0, 6) / 6 and x · Φ(x), in any order of factors.

    Φ is spelled with Erf or with the tanh approximation (Hendrycks and Gimpel, 2016).
    """

    name: ClassVar[str] = "fuse-activations"

    def run(self, graph: Graph, /) -> PassResult:
        """Return the graph with Silu, HardSwish and Gelu nodes."""
        edit = Edit(graph)
        for node in graph.nodes:
            now = edit.current(node)
            if isinstance(now, ops.Mul) and edit.tensor(now.outputs[0]).element == F32:
                fused = _fused(edit, now)
                if fused is not None:
                    edit.put(fused)
        return edit.done()


def _fused(edit: Edit, node: ops.Mul) -> Node | None:
    for product in factorings(edit, node.outputs[0]):
        for value, gate in _pairs(product):
            kind = _kind(edit, product.coefficient, value, gate)
            if kind is None or edit.shape(value) != edit.shape(node.outputs[0]):
                continue
            sources = joined_sources(*_between(edit, node, value))
            fused = kind(name=node.name, inputs=(value,), outputs=node.outputs, sources=sources)
            if isinstance(fused, ops.Gelu):
                exact = any(isinstance(n, ops.Erf) for n in _between(edit, node, value))
                return dataclasses.replace(fused, tanh=not exact)
            return fused
    return None


def _pairs(product: Product) -> Iterator[tuple[str, str]]:
    if len(product.factors) == 2:  # noqa: PLR2004 - a value and its gate
        first, second = product.factors
        yield first, second
        yield second, first


def _kind(edit: Edit, coefficient: float, value: str, gate: str) -> type[Node] | None:
    node = edit.maker(gate)
    if isinstance(node, ops.Sigmoid) and node.inputs[0] == value and _near(coefficient, 1):
        return ops.Silu
    if isinstance(node, ops.HardSigmoid) and node.inputs[0] == value:
        sixth = _near(node.alpha, 1 / 6) and _near(node.beta, 0.5)
        return ops.HardSwish if sixth and _near(coefficient, 1) else None
    if isinstance(node, ops.Clamp) and (node.low, node.high) == (0, 6):
        raised = added_constant(edit, node.inputs[0])
        fits = raised is not None and raised[0] == value and _near(raised[1], 3)
        return ops.HardSwish if fits and _near(coefficient, 1 / 6) else None
    raised = added_constant(edit, gate)
    if raised is None or not _near(raised[1], 1) or not _near(coefficient, 0.5):
        return None
    inner = edit.maker(raised[0])
    exact = isinstance(inner, ops.Erf) and _is(edit, inner.inputs[0], math.sqrt(0.5), value)
    if exact or (isinstance(inner, ops.Tanh) and _is_cubic(edit, inner.inputs[0], value)):
        return ops.Gelu
    return None


def _is_cubic(edit: Edit, argument: str, value: str) -> bool:
    """Whether the argument is √(2/π) · (x + 0.044715 · x³), or … · x · (1 + 0.044715 · x²)."""
    slope = math.sqrt(2 / math.pi)
    for product in factorings(edit, argument):
        if not _near(product.coefficient, slope):
            continue
        if len(product.factors) == 1:
            node = edit.maker(product.factors[0])
            terms = node.inputs if isinstance(node, ops.Add) else ()
            if value in terms and len(terms) == 2:  # noqa: PLR2004 - x and its cube
                other = terms[1] if terms[0] == value else terms[0]
                if _is(edit, other, _CUBIC, value, value, value):
                    return True
        for first, second in _pairs(product):
            raised = added_constant(edit, second)
            if first == value and raised is not None and _near(raised[1], 1):
                return _is(edit, raised[0], _CUBIC, value, value)
    return False


def _is(edit: Edit, found: str, coefficient: float, *factors: str) -> bool:
    """Whether a value is the product of a number and the given values."""
    wanted = sorted(factors)
    return any(
        sorted(product.factors) == wanted and _near(product.coefficient, coefficient)
        for product in factorings(edit, found)
    )


def _near(found: float, wanted: float) -> bool:
    return math.isclose(found, wanted, rel_tol=_TOLERANCE)


def _between(edit: Edit, last: Node, value: str) -> list[Node]:
    """Return the nodes that make ``last`` from ``value``, in order of the graph."""
    found: dict[str, Node] = {last.name: last}
    waiting = list(last.inputs)
    while waiting:
        name = waiting.pop()
        node = edit.maker(name)
        if name != value and node is not None and node.name not in found:
            found[node.name] = node
            waiting.extend(node.inputs)
    return [node for node in edit.nodes if node.name in found]
