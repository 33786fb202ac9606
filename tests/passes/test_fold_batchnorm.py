"""Batch norms and loose Mul and Add go into weights wherever that is exact, and only there."""

from __future__ import annotations

import numpy as np
import pytest

from lowbitc.compiler.ir import ops
from lowbitc.compiler.ir.graph import Graph
from lowbitc.passes.fold_batchnorm import FoldBatchnorm
from tests.passes.checking import checked, kinds, sources_of
from tests.passes.graphs import Net


def folded(graph: Graph) -> Graph:
    after = checked(FoldBatchnorm(), graph)
    assert sources_of(after) == sources_of(graph)
    return after


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_it_goes_into_the_convolution_before_it(groups: int, bias: bool) -> None:  # noqa: FBT001
    net = Net(1, 4, 6, 6)
    y = net.batch_norm(net.conv(net.x, 8, pads=1, groups=groups, bias=bias))
    assert kinds(folded(net.graph(y))) == ["Conv"]


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_it_goes_into_the_transposed_convolution_before_it(groups: int) -> None:
    net = Net(1, 4, 5, 5)
    y = net.batch_norm(net.conv_transpose(net.x, 8, groups=groups))
    assert kinds(folded(net.graph(y))) == ["ConvTranspose"]


def test_it_goes_into_the_dense_layer_before_it() -> None:
    net = Net(1, 6)
    y = net.batch_norm(net.dense(net.x, 5, bias=False))
    assert kinds(folded(net.graph(y))) == ["Dense"]
