"""Damaged batch norms are refused; boundless ones are warned of."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lowbitc.compiler.codes import CATALOGUE
from lowbitc.compiler.diagnostics import CompileError, Severity
from lowbitc.compiler.ir import ops
from lowbitc.compiler.manager import PassManager
from lowbitc.passes.check_batchnorm import CheckBatchnorm
from lowbitc.passes.folding import FOLDING
from tests.passes.graphs import Net


def _norm(variance: float, gain: float = 1.0, epsilon: float = 1e-5) -> Net:
    net = Net(1, 4, 3, 3)
    arrays = (np.full(4, gain), np.zeros(4), np.zeros(4), np.asarray([1, variance, 1, 1]))
    constants = [net.constant(a.astype(np.float32)) for a in arrays]
    net.same(ops.BatchNorm, net.x, *constants, epsilon=epsilon)
    return net


def _found(net: Net) -> list[tuple[str, Severity]]:
    graph = net.graph(net.nodes[-1].outputs[0])
    result = CheckBatchnorm().run(graph)
    assert result.graph is graph
    assert not result.changed
    return [(d.code, d.severity) for d in result.diagnostics]


@pytest.mark.parametrize("variance", [-1.0, -2e-5, math.nan, math.inf])
def test_a_variance_without_a_root_is_refused(variance: float) -> None:
    net = _norm(variance)
    assert _found(net) == [("LB423", Severity.ERROR)]
    with pytest.raises(CompileError, match=r"channels 1 \(1 of 4\)"):
        PassManager(FOLDING).run(net.graph(net.nodes[-1].outputs[0]))


def test_a_gain_that_is_not_finite_is_refused() -> None:
    assert _found(_norm(1.0, math.nan)) == [("LB423", Severity.ERROR)]


@pytest.mark.parametrize(("variance", "epsilon"), [(-1e-6, 1e-5), (0.0, 1e-12)])
def test_a_negative_or_vanishing_variance_is_warned_of(variance: float, epsilon: float) -> None:
    assert _found(_norm(variance, epsilon=epsilon)) == [("LB424", Severity.WARNING)]


@pytest.mark.parametrize("variance", [0.0, 1e-10, 5.0])
def test_a_dead_channel_under_the_usual_epsilon_is_nothing_to_say(variance: float) -> None:
    assert _found(_norm(variance)) == []


def test_every_code_is_in_the_catalogue() -> None:
    assert {"LB421", "LB422", "LB423", "LB424", "LB425"} <= set(CATALOGUE)
