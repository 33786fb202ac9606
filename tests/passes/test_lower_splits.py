"""A Split becomes one Slice for each piece that something reads."""

from __future__ import annotations

from lowbitc.compiler.diagnostics import Source
from lowbitc.compiler.elements import F32
from lowbitc.compiler.ir import ops
from lowbitc.compiler.ir.types import TensorType
from lowbitc.passes.lower_splits import LowerSplits
from tests.passes.checking import checked, kinds
from tests.passes.graphs import Net

_SOURCES = (Source("/split", "Split"),)


def _split(net: Net, sizes: tuple[int, ...], axis: int) -> tuple[str, ...]:
    outputs = tuple(f"part{i}" for i in range(len(sizes)))
    for output, size in zip(outputs, sizes, strict=True):
        dims = list(net.shape(net.x))
        dims[axis] = size
        net.types[output] = TensorType(tuple(dims), F32)
    node = ops.Split(
        name="split", inputs=(net.x,), outputs=outputs, sources=_SOURCES, axis=axis, sizes=sizes
    )
    net.nodes.append(node)
    return outputs


def test_each_piece_is_a_slice() -> None:
    net = Net(1, 6, 4)
    parts = _split(net, (1, 2, 3), 1)
    after = checked(LowerSplits(), net.graph(*(net.relu(p) for p in parts)), relative=0)
    assert kinds(after).count("Slice") == 3
    assert "Split" not in kinds(after)


def test_pieces_that_nothing_reads_are_none() -> None:
    net = Net(1, 6, 4)
    _, middle, _ = _split(net, (1, 2, 3), 1)
    after = checked(LowerSplits(), net.graph(net.relu(middle)), relative=0)
    assert kinds(after) == ["Slice", "Relu"]
    assert after.nodes[0].sources == _SOURCES


def test_a_split_of_samples_stays() -> None:
    net = Net(2, 6)
    first, second = _split(net, (1, 1), 0)
    graph = net.graph(net.relu(first), net.relu(second))
    assert LowerSplits().run(graph).graph is graph


def test_a_split_that_only_makes_outputs_stays() -> None:
    net = Net(1, 6)
    graph = net.graph(*_split(net, (2, 4), 1))
    assert LowerSplits().run(graph).graph is graph
