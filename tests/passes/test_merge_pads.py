"""Zero pads go into the layers behind them where that is exact, and only there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lowbitc.compiler.ir import ops
from lowbitc.passes.merge_pads import MergePads
from tests.passes.checking import checked, kinds
from tests.passes.graphs import Net

if TYPE_CHECKING:
    from lowbitc.compiler.ir.graph import Graph

_UNEVEN = (0, 0, 0, 1, 0, 0, 2, 1)


def merged(graph: Graph) -> Graph:
    return checked(MergePads(), graph)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("own", [0, (1, 0, 2, 1)])
def test_a_convolution_takes_uneven_pads(own: int | tuple[int, ...], stride: int) -> None:
    net = Net(1, 3, 7, 8)
    y = net.conv(net.pad(net.x, _UNEVEN), 4, pads=own, stride=stride)
    after = merged(net.graph(y))
    assert kinds(after) == ["Conv"]
    assert [s.op for s in after.nodes[0].sources] == ["Pad", "Conv"]


def test_a_pad_of_a_pad_goes_too() -> None:
    net = Net(1, 3, 7, 8)
    y = net.conv(net.pad(net.pad(net.x, _UNEVEN), _UNEVEN), 4)
    after = merged(net.graph(y))
    assert kinds(after) == ["Conv"]


@pytest.mark.parametrize(
    ("pads", "value", "mode"),
    [
        ((0, 0, 1, 1, 0, 0, 1, 1), 1.0, "constant"),
        ((0, 0, 1, 1, 0, 0, 1, 1), 0.0, "reflect"),
        ((0, 0, 1, 1, 0, 0, 1, 1), 0.0, "edge"),
        ((0, 1, 1, 1, 0, 0, 1, 1), 0.0, "constant"),
        ((0, 0, -1, 1, 0, 0, 1, 1), 0.0, "constant"),
    ],
    ids=["ones", "reflect", "edge", "channels", "crop"],
)
def test_another_pad_stays(pads: tuple[int, ...], value: float, mode: str) -> None:
    net = Net(1, 3, 7, 8)
    y = net.conv(net.pad(net.x, pads, value, mode), 4)
    assert kinds(merged(net.graph(y))) == ["Pad", "Conv"]


def test_each_reader_that_can_take_it_does() -> None:
    net = Net(1, 3, 6, 6)
    padded = net.pad(net.x, _UNEVEN)
    after = merged(net.graph(net.conv(padded, 4), net.relu(padded), net.conv(padded, 2, 1)))
    assert sorted(kinds(after)) == ["Conv", "Conv", "Pad", "Relu"]


def test_a_pad_that_is_an_output_stays_for_it() -> None:
    net = Net(1, 3, 6, 6)
    padded = net.pad(net.x, _UNEVEN)
    assert kinds(merged(net.graph(padded, net.conv(padded, 4)))) == ["Pad", "Conv"]


@pytest.mark.parametrize(
    ("own", "counts", "goes"),
    [(0, False, True), (0, True, True), (1, True, True), (1, False, False)],
)
def test_an_average_takes_it_where_its_own_padding_counts(
    own: int, *, counts: bool, goes: bool
) -> None:
    net = Net(1, 3, 7, 7)
    padded = net.pad(net.x, (0, 0, 1, 0, 0, 0, 1, 1))
    y = net.pool(ops.AveragePool, padded, 3, stride=2, pads=own, count_padding=counts)
    after = merged(net.graph(y))
    assert kinds(after) == (["AveragePool"] if goes else ["Pad", "AveragePool"])


@pytest.mark.parametrize(
    ("activation", "goes"),
    [(ops.Relu, True), (ops.Sigmoid, True), (ops.Tanh, False), (ops.Identity, False)],
)
def test_a_maximum_takes_it_where_nothing_is_below_zero(
    activation: type[ops.Relu], *, goes: bool
) -> None:
    net = Net(1, 3, 6, 6)
    padded = net.pad(net.same(activation, net.x), (0, 0, 1, 1, 0, 0, 0, 1))
    after = merged(net.graph(net.pool(ops.MaxPool, padded, 3, stride=2)))
    assert ("Pad" in kinds(after)) is not goes


def test_a_maximum_takes_it_behind_sums_pools_and_joins_of_relus() -> None:
    net = Net(1, 3, 6, 6)
    y = net.concat(net.add(net.relu(net.x), net.clamp(net.x)), net.relu(net.x))
    padded = net.pad(net.pool(ops.AveragePool, y, 2), (0, 0, 1, 1, 0, 0, 1, 1))
    after = merged(net.graph(net.pool(ops.MaxPool, padded, 3, stride=1)))
    assert "Pad" not in kinds(after)


def test_a_pool_smaller_than_its_padding_leaves_the_pad() -> None:
    net = Net(1, 3, 6, 6)
    padded = net.pad(net.relu(net.x), (0, 0, 2, 2, 0, 0, 2, 2))
    for operator in (ops.MaxPool, ops.AveragePool):
        graph = net.graph(net.pool(operator, padded, 2))
        assert "Pad" in kinds(merged(graph))


def test_a_pool_that_rounds_up_leaves_the_pad_where_a_window_leaves_the_padding() -> None:
    for size, goes in ((5, False), (6, True)):
        net = Net(1, 3, size, size)
        padded = net.pad(net.relu(net.x), (0, 0, 1, 1, 0, 0, 1, 1))
        out = -(-(size + 2 - 2) // 2) + 1
        y = net.node(
            ops.MaxPool,
            (padded,),
            (1, 3, out, out),
            kernel=(2, 2),
            stride=(2, 2),
            dilation=(1, 1),
            pads=(0, 0, 0, 0),
            ceil_mode=True,
        )
        assert ("Pad" in kinds(merged(net.graph(y)))) is not goes
