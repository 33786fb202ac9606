"""Clips of clips are one clip; a clip at zero is a ReLU."""

from __future__ import annotations

import math

import pytest

from lowbitc.compiler.ir import ops
from lowbitc.passes.merge_clips import MergeClips
from tests.passes.checking import checked, kinds
from tests.passes.graphs import Net


def test_a_clip_at_zero_is_a_relu() -> None:
    net = Net(1, 3)
    graph = net.graph(net.clamp(net.x, 0.0, math.inf), net.same(ops.LeakyRelu, net.x, alpha=0.0))
    assert kinds(checked(MergeClips(), graph, relative=0)) == ["Relu", "Relu"]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ((0, math.inf), (-math.inf, 6), (0, 6)),
        ((-1, 1), (-2, 0.5), (-1, 0.5)),
        ((-1, 1), (2, 3), (2, 2)),
        ((0, 6), (0, math.inf), (0, 6)),
    ],
)
def test_a_clip_of_a_clip_is_one(
    first: tuple[float, float], second: tuple[float, float], expected: tuple[float, float]
) -> None:
    net = Net(1, 30)
    y = net.clamp(net.clamp(net.x, *first), *second)
    (node,) = checked(MergeClips(), net.graph(y), relative=0).nodes
    assert isinstance(node, ops.Clamp)
    assert (node.low, node.high) == expected
    assert len(node.sources) == 2


def test_a_clip_that_others_read_stays() -> None:
    net = Net(1, 30)
    inner = net.relu(net.x)
    graph = net.graph(net.clamp(inner), net.same(ops.Tanh, inner))
    assert checked(MergeClips(), graph, relative=0) is graph
