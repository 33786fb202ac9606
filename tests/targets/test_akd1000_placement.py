"""Layers take as many NPs of an akd1000 as the vendor publishes, and share them as it does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import networkx as nx
import numpy as np
import pytest

from lowbitc.compiler.diagnostics import CompileError
from lowbitc.compiler.elements import I4, I8, U2, U4
from lowbitc.compiler.ir import quantized as q
from lowbitc.targets.container import container_bytes
from lowbitc.targets.engines.simulator import Simulator
from lowbitc.targets.placement.arrange import arrange
from lowbitc.targets.placement.mesh import Memory, Mesh
from lowbitc.targets.placement.model import Unit, places
from lowbitc.targets.placement.place import place
from lowbitc.targets.program import load_program
from lowbitc.targets.program.emit import emit
from lowbitc.targets.program.load import program_of
from lowbitc.targets.registry import load_target
from tests.program.graphs import MESH, ORIGIN, Net

if TYPE_CHECKING:
    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.targets.placement.model import Placement

CHIP = load_target("akd1000").mesh
FILTERS = (64, 128, 128, 256, 256, *(512,) * 6, 1024, 1024)
STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)


def same(net: Net, x: str, channels: int, stride: int = 1, **fields: object) -> str:
    """Add a 3x3 convolution whose sides shrink as with same padding."""
    size = net.types[x].dims[2]
    made = net.conv(x, channels, stride=stride, **fields)  # type: ignore[arg-type]
    assert net.types[made].dims[2] == -(-size // stride)
    return made


def separable(net: Net, x: str, channels: int, stride: int = 1, *, mean: bool = False) -> str:
    inward = net.types[x].dims[1]
    half = same(net, x, inward, stride, groups=inward, out=I8)
    made = net.conv(half, channels, kernel=(1, 1), pad=0, out=I8 if mean else U4)
    return net.mean(made, U4) if mean else made


def mobile(width: float, side: int, convolutions: int, classes: int = 1000) -> Graph:
    net = Net((1, 3, side, side))
    x = same(net, net.quantize(), int(32 * width), 2, weight=I8)
    for number, (filters, stride) in enumerate(zip(FILTERS, STRIDES, strict=True)):
        channels = int(filters * width)
        if number < convolutions:
            x = same(net, x, channels, stride)
        else:
            x = separable(net, x, channels, stride, mean=number == len(FILTERS) - 1)
    return net.graph(net.dequantize(net.dense(net.flat(x), classes, weight=I4)))


def keywords() -> Graph:
    net = Net((1, 1, 49, 10))
    x = net.conv(net.quantize(), 64, kernel=(5, 5), stride=2, pad=2, weight=I8)
    for number in range(4):
        x = separable(net, x, 64, mean=number == 3)
    return net.graph(net.dequantize(net.dense(net.flat(x), 33, weight=I4)))


def used(placement: Placement) -> int:
    return sum(places(placement.processors[slice(*p.processors)]) for p in placement.passes)


@pytest.mark.parametrize(
    ("graph", "published"),
    [
        (mobile(0.25, 96, 3, classes=2), 16),
        (mobile(0.25, 160, 3), 20),
        (mobile(0.5, 224, 3), 32),
        (mobile(1.0, 224, 0), 110),
        (keywords(), 5),
    ],
)
def test_as_many_processors_are_taken_as_are_published(graph: Graph, published: int) -> None:
    assert used(place(graph, CHIP)) == published


def test_the_layers_of_akidanet_are_cut_as_published() -> None:
    graph = mobile(0.5, 224, 3)
    by_layer = place(graph, CHIP).of_layer()
    named = [n.name for n in graph.nodes if isinstance(n, q.QConv) and n.groups == 1]
    counts = [places(by_layer[name]) for name in named]
    # The input unit is no NP. Five layers are in a third party's listing; all of them sum to 32.
    assert counts[:6] == [0, 4, 6, 3, 3, 2]
    assert sum(counts) + 1 == 32


def small() -> Graph:
    net = Net((1, 3, 12, 12))
    x = same(net, net.quantize(), 6, 2)
    x = same(net, x, 10)
    x = separable(
        net,
        net.moved(
            q.QMaxPool,
            x,
            (1, 10, 3, 3),
            kernel=(2, 2),
            stride=(2, 2),
            dilation=(1, 1),
            pads=(0,) * 4,
        ),
        12,
        mean=True,
    )
    return net.graph(net.dequantize(net.dense(net.flat(x), 5, weight=I4)))


TIGHT = Mesh(
    4,
    3,
    Memory(200, 200, whole_maps=True, most_columns=5, partial_sums=False, channel_bytes=12),
    reserved=((1, 0),),
    input_unit=((1, 0),),
    fused=True,
    dense_processors=2,
    streaming_processors=1,
)


def test_halves_and_pools_share_the_processors_of_their_convolution() -> None:
    graph = small()
    placement = place(graph, TIGHT)
    layers = [n.name for n in graph.nodes if not isinstance(n, (q.Quantize, q.Dequantize))]
    first, conv, pool, depthwise, point, mean, _, dense = layers
    at = {name: {(p.x, p.y) for p in held} for name, held in placement.of_layer().items()}
    assert at[first] == {(1, 0)}
    assert at[pool] <= at[conv]
    assert at[depthwise] <= at[point]
    assert at[mean] <= at[point]
    assert not at[conv] & at[point]
    units = {p.layer: p.unit for p in placement.processors}
    assert units[first] is Unit.INPUT
    assert units[dense] is Unit.NP


def test_no_block_sees_more_columns_or_holds_more_than_its_memories() -> None:
    placement = place(small(), TIGHT)
    assert all(p.activation_bytes <= 200 for p in placement.processors if p.unit is Unit.NP)
    conv = placement.of_layer()["QConv2"]
    assert {stop - start for start, stop in (p.columns for p in conv)} == {3}


def test_a_dense_layer_that_fills_several_processors_streams_its_weights_into_one() -> None:
    net = Net((1, 300))
    graph = net.graph(net.dequantize(net.dense(net.quantize(element=U4), 40, weight=I4)))
    placement = place(graph, TIGHT)
    (held,) = placement.processors
    assert (held.unit, held.channels) == (Unit.STREAMED, (0, 40))
    assert placement.streamed_bytes == 300 * 40 // 2
    assert placement.passes[0].load_bytes == held.stage_bytes


def test_a_program_on_shared_processors_is_read_back_and_runs_the_same_on_both_engines() -> None:
    graph = small()
    placement = place(graph, TIGHT)
    made = program_of(emit(graph, placement, ORIGIN))
    assert load_program(container_bytes(made.container)).placement == placement
    data = {"x": np.random.default_rng(0).random((9, 3, 12, 12), np.float32) * 4}
    plain = program_of(emit(graph, place(graph, MESH), ORIGIN))
    wanted = Simulator(plain, "reference").run(data)
    for engine in ("reference", "fast"):
        found = Simulator(made, engine, threads=1).run(data)
        assert all(np.array_equal(found[name], array) for name, array in wanted.items())


def test_one_pass_is_refused_where_it_does_not_hold_the_network_with_what_would() -> None:
    mesh = Mesh(2, 2, Memory(400, 65536))
    net = Net((1, 64, 4, 4))
    net.conv(net.quantize(element=U4), 16, kernel=(1, 1), pad=0, out=U2)
    graph = net.graph(net.nodes[-1].outputs[0])
    for mode in ("minimal", "fast"):
        with pytest.raises(CompileError) as caught:
            place(graph, Mesh(1, 1, mesh.memory), mode)
        (found,) = caught.value.diagnostics
        assert (found.code, found.allowed) == ("LB502", "1 NPs")
        assert found.found == "2 NPs; the largest layers: QConv1 2"
        assert "mode passes runs it in 2" in found.hint
        assert "it fits one pass with weights of 1 bit" in found.hint
    assert len(place(graph, Mesh(1, 1, mesh.memory)).passes) == 2
    with pytest.raises(CompileError) as caught:
        place(graph, mesh, "best")
    assert caught.value.diagnostics[0].code == "LB503"


def test_what_is_left_goes_to_the_slowest_layers() -> None:
    graph = mobile(0.25, 96, 3, classes=2)
    few, many = place(graph, CHIP, "minimal"), place(graph, CHIP, "fast")
    assert used(few) == 16
    assert 70 <= used(many) <= 78
    most = max(many.of_layer(), key=lambda name: places(many.of_layer()[name]))
    # The second convolution has the most work: 24 x 24 places, 16 inputs, 32 filters of 9 taps.
    assert most in {"QConv2", "QConv3"}
    channels = [p.channels for p in many.of_layer()["QConv3"]]
    assert min(channels)[0] == 0


def test_places_make_routes_short() -> None:
    random = np.random.default_rng(0)
    traffic: nx.DiGraph[int] = nx.DiGraph()
    traffic.add_nodes_from(range(-1, 20))
    edges = {
        (int(maker), int(reader)): int(weight)
        for maker, reader, weight in random.integers((-1, -1, 1), (20, 20, 50), (40, 3))
    }
    for (maker, reader), weight in edges.items():
        traffic.add_edge(maker, reader, weight=weight)
    places = Mesh(5, 5, Memory(1, 1), reserved=((0, 0),)).positions()

    def length(at: dict[int, tuple[int, int]]) -> int:
        return sum(
            weight * (abs(at[a][0] - at[b][0]) + abs(at[a][1] - at[b][1]))
            for (a, b), weight in edges.items()
        )

    found = arrange(traffic, places, {-1: (0, 0)})
    snake = {-1: (0, 0), **dict(zip(range(20), places, strict=False))}
    assert found[-1] == (0, 0)
    assert len(set(found.values())) == len(found)
    assert length(found) < 0.6 * length(snake)
    for a in range(20):
        for b in range(20):
            swapped = {**found, a: found[b], b: found[a]}
            assert length(swapped) >= length(found)
    assert arrange(traffic, places, {-1: (0, 0)}) == found
