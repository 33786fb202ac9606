"""A clip goes before the maximum that it follows."""

from __future__ import annotations

from lowbitc.compiler.ir import ops
from lowbitc.passes.hoist_clips import HoistClips
from tests.passes.checking import checked, kinds
from tests.passes.graphs import Net


def test_a_clip_goes_before_the_max_pools_that_it_follows() -> None:
    net = Net(1, 3, 8, 8)
    pooled = net.pool(ops.MaxPool, net.pool(ops.MaxPool, net.x, 2), 3, stride=1, pads=1)
    conv = net.pool(ops.MaxPool, net.conv(pooled, 4, 1), 2)
    after = checked(HoistClips(), net.graph(net.clamp(conv)), relative=0)
    assert kinds(after) == ["MaxPool", "MaxPool", "Conv", "Clamp", "MaxPool"]


def test_it_stays_behind_a_pool_that_others_read() -> None:
    net = Net(1, 3, 8, 8)
    pooled = net.pool(ops.MaxPool, net.conv(net.x, 4), 2)
    graph = net.graph(net.relu(pooled), pooled)
    assert kinds(checked(HoistClips(), graph, relative=0)) == ["Conv", "MaxPool", "Relu"]


def test_it_stays_behind_a_pool_of_what_others_read() -> None:
    net = Net(1, 3, 8, 8)
    y = net.conv(net.x, 4)
    graph = net.graph(net.relu(net.pool(ops.MaxPool, y, 2)), net.same(ops.Tanh, y))
    assert checked(HoistClips(), graph, relative=0) is graph


def test_it_stays_behind_an_average() -> None:
    net = Net(1, 3, 8, 8)
    graph = net.graph(net.relu(net.pool(ops.AveragePool, net.conv(net.x, 4), 2)))
    assert HoistClips().run(graph).graph is graph
