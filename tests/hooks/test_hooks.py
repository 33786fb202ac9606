"""Hooks see every pass: they compare numbers, take times and dump graphs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pytest

from lowbitc.compiler.diagnostics import CompileError, Severity
from lowbitc.compiler.elements import F32, I4, U4, Array
from lowbitc.compiler.hooks import DumpAfter, Timings, VerifyNumerics, combine, measure_gap
from lowbitc.compiler.ir import ops
from lowbitc.compiler.ir.graph import Graph
from lowbitc.compiler.ir.quantized import Quantize
from lowbitc.compiler.ir.types import TensorType
from lowbitc.compiler.manager import PassManager, PassResult
from lowbitc.compiler.text import parse_graph, same_graph

if TYPE_CHECKING:
    from collections.abc import Callable

_WEIGHT = np.asarray([[0.5, -0.25], [1.0, 0.125]], np.float32)
_SAMPLE = {"x": np.asarray([[1.0, -2.0]], np.float32)}


def _graph() -> Graph:
    dense = ops.Dense(name="d", inputs=("x", "w"), outputs=("y",), sources=())
    matrix = TensorType((1, 2), F32)
    return Graph(
        name="g",
        inputs=("x",),
        outputs=("y",),
        nodes=(dense,),
        types={"x": matrix, "w": TensorType((2, 2), F32), "y": matrix},
        constants={"w": _WEIGHT},
    )


@dataclass(frozen=True, slots=True)
class _Rewrite:
    """A pass that does what it is given."""

    rewrite: Callable[[Graph], Graph]
    name: ClassVar[str] = "rewrite"

    def run(self, graph: Graph, /) -> PassResult:
        after = self.rewrite(graph)
        return PassResult(after, changed=after is not graph)


def _with_weight(graph: Graph, weight: Array, held: TensorType) -> Graph:
    return graph.replace(constants={"w": weight}, types={**graph.types, "w": held})


def _scaled(factor: float) -> Callable[[Graph], Graph]:
    weight = np.asarray(_WEIGHT * factor, np.float32)
    return lambda graph: _with_weight(graph, weight, TensorType((2, 2), F32))


def test_a_pass_that_keeps_the_function_is_noted_with_its_gap() -> None:
    manager = PassManager((_Rewrite(_scaled(1 + 1e-6)),), VerifyNumerics(_SAMPLE, threads=1))
    (found,) = manager.run(_graph()).diagnostics
    assert (found.code, found.severity) == ("LB909", Severity.NOTE)
    assert "of the largest output" in found.found


def test_a_pass_that_changes_the_function_is_an_error() -> None:
    manager = PassManager((_Rewrite(_scaled(1.01)),), VerifyNumerics(_SAMPLE, threads=1))
    with pytest.raises(CompileError, match=r"LB905.*moved by as much as 0\.01"):
        manager.run(_graph())
    loose = VerifyNumerics(_SAMPLE, threads=1, tolerance=0.1)
    assert PassManager((_Rewrite(_scaled(1.01)),), loose).run(_graph()).changed


def test_rounded_weights_are_reported_and_not_held_to_the_tolerance() -> None:
    levels = TensorType((2, 2), I4, (0.25, 0.25))
    rounding = _Rewrite(lambda g: _with_weight(g, np.asarray([[2, -1], [4, 0]], np.int8), levels))
    (found,) = (
        PassManager((rounding,), VerifyNumerics(_SAMPLE, threads=1)).run(_graph()).diagnostics
    )
    assert found.severity is Severity.NOTE
    assert "rounding the weights" in found.message
    assert found.found.startswith("0.25,")


def test_integer_graphs_are_said_to_be_out_of_reach() -> None:
    def quantized(graph: Graph) -> Graph:
        step = Quantize(name="q", inputs=("y",), outputs=("z",), sources=())
        types = {**graph.types, "z": TensorType((1, 2), U4, (0.5,))}
        return graph.replace(nodes=(*graph.nodes, step), outputs=("z",), types=types)

    manager = PassManager((_Rewrite(quantized),), VerifyNumerics(_SAMPLE, threads=1))
    (found,) = manager.run(_graph()).diagnostics
    assert found.severity is Severity.NOTE
    assert "do not apply" in found.message


def test_a_check_that_cannot_run_is_an_error() -> None:
    manager = PassManager((_Rewrite(_scaled(1.0)),), VerifyNumerics({}, threads=1))
    with pytest.raises(CompileError, match=r"LB906: rewrite: .*no array for the input x"):
        manager.run(_graph())


def test_a_pass_that_changes_nothing_needs_no_run() -> None:
    manager = PassManager((_Rewrite(lambda graph: graph),), VerifyNumerics({}, threads=1))
    assert manager.run(_graph()).diagnostics == ()


def test_hooks_combine_and_dumps_parse_back() -> None:
    timings = Timings()
    dumps: dict[str, str] = {}
    hook = combine(timings, DumpAfter(("rewrite",), dumps.__setitem__))
    other = DumpAfter(("another",), dumps.__setitem__)
    graph = PassManager((_Rewrite(_scaled(2.0)),), combine(hook, other)).run(_graph()).graph
    assert [(row.name, row.changed) for row in timings.rows] == [("rewrite", True)]
    assert all(row.seconds >= 0 for row in timings.rows)
    assert list(dumps) == ["rewrite"]
    assert same_graph(parse_graph(dumps["rewrite"]), graph)


@pytest.mark.parametrize(
    ("one", "other", "relative"),
    [
        ([1.0, -4.0], [1.0, -4.0], 0.0),
        ([1.0, -4.0], [1.0, -3.0], 0.25),
        ([np.nan, np.inf], [np.nan, np.inf], 0.0),
        ([np.nan, 1.0], [2.0, 1.0], np.inf),
        ([1.0], [np.nan], np.inf),
        ([0.0], [1e-9], np.inf),
        ([1.0], [1.0, 1.0], np.inf),
    ],
)
def test_the_gap_is_relative_to_the_largest_output(
    one: list[float], other: list[float], relative: float
) -> None:
    gap = measure_gap([np.asarray(one, np.float32)], [np.asarray(other, np.float32)])
    assert gap.relative == relative
