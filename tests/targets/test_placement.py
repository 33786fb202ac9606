"""Layers are cut so that every block fits, and nothing is lost or held twice."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from lowbitc.compiler.diagnostics import CompileError
from lowbitc.compiler.elements import I4, I8, U4, U8, LevelType
from lowbitc.compiler.ir import quantized as q
from lowbitc.targets.placement.layer import Layer, Window, describe_layer, element_of
from lowbitc.targets.placement.mesh import Memory, Mesh
from lowbitc.targets.placement.model import EXTERNAL
from lowbitc.targets.placement.place import place
from lowbitc.targets.placement.split import blocks, choose_cut
from lowbitc.targets.placement.streams import held_rows
from tests.program.graphs import MESH, Net, every_operator, small_graph

if TYPE_CHECKING:
    from lowbitc.targets.placement.model import Placement


def layer_of(net: Net) -> Layer:
    found = describe_layer(net.nodes[-1], net.graph(net.nodes[-1].outputs[0]))
    assert found is not None
    return found


def conv_layer(*, weight: LevelType = I4, wide: int = 16, inward: int = 8) -> Layer:
    net = Net((1, inward, 16, wide))
    net.conv(net.quantize(element=U4), 32, weight=weight, out=U4)
    return layer_of(net)


def test_a_layer_that_fits_takes_one_processor() -> None:
    layer = conv_layer()
    cut = choose_cut(layer, Memory(65536, 65536))
    assert cut is not None
    (block,) = blocks(layer, cut)
    assert block.weight_bytes == 32 * 8 * 9 // 2
    assert block.stage_bytes == 32 * 15 * 4
    assert block.activation_bytes == 3 * 16 * 8 // 2


def test_weights_are_shared_out_by_output_channels() -> None:
    layer = conv_layer()
    cut = choose_cut(layer, Memory(1024, 65536))
    assert cut is not None
    held = list(blocks(layer, cut))
    assert [b.channels for b in held] == [(0, 8), (8, 16), (16, 24), (24, 32)]
    assert max(b.weight_bytes + b.stage_bytes for b in held) <= 1024


def test_lines_that_are_too_long_are_cut_by_columns_with_their_overlap() -> None:
    layer = conv_layer(wide=64, inward=1)
    cut = choose_cut(layer, Memory(65536, 3 * 34 // 2))
    assert cut is not None
    held = list(blocks(layer, cut))
    assert [b.columns for b in held] == [(0, 32), (32, 64)]
    assert {b.activation_bytes for b in held} == {3 * 34 // 2}
    assert {b.weight_bytes for b in held} == {layer.weight_bytes(32, 1)}


def test_a_row_of_weights_that_is_too_long_is_cut_by_input_channels() -> None:
    net = Net((1, 4096))
    net.dense(net.quantize(), 3)
    layer = layer_of(net)
    cut = choose_cut(layer, Memory(2048, 65536))
    assert cut is not None
    held = list(blocks(layer, cut))
    assert [b.inputs for b in held[:3]] == [(0, 1365), (1365, 2730), (2730, 4096)]
    assert [b.finishes for b in held[:3]] == [False, False, True]


@given(
    outputs=st.integers(1, 40),
    inputs=st.integers(1, 40),
    groups=st.sampled_from([1, 1, 2, 4]),
    taps=st.sampled_from([1, 3, 9]),
    columns=st.integers(1, 40),
    reach=st.integers(1, 5),
    stride=st.integers(1, 3),
    memory=st.tuples(st.integers(1, 3000), st.integers(1, 2000)),
    bits=st.sampled_from([U4, U8]),
)
@example(
    outputs=1,
    inputs=17,
    groups=2,
    taps=1,
    columns=1,
    reach=5,
    stride=1,
    memory=(69, 128),
    bits=U4,
).via("17 lines of 60 bits, each rounded up to bytes, seemed not to fit their 128 bytes")
def test_blocks_cover_a_layer_once_and_fit(
    outputs: int,
    inputs: int,
    groups: int,
    taps: int,
    columns: int,
    reach: int,
    stride: int,
    memory: tuple[int, int],
    bits: LevelType,
) -> None:
    layer = Layer(
        name="layer",
        sources=(),
        outputs=outputs * groups,
        inputs=inputs,
        groups=groups,
        taps=taps,
        weight=I4,
        stage_bytes=60,
        table_bytes=0,
        held_rows=3,
        columns=Window(reach, stride, (columns - 1) * stride + reach, columns),
        input_bits=bits.bits,
    )
    cut = choose_cut(layer, Memory(*memory))
    smallest = layer.weight_bytes(1, 1 if groups == 1 else inputs) + layer.constant_bytes(1)
    line = layer.activation_bytes(1 if groups == 1 else inputs, 1)
    if cut is None:
        assert smallest > memory[0] or line > memory[1]
        return
    held = list(blocks(layer, cut))
    assert len(held) == cut.count(layer)
    assert all(b.weight_bytes + b.stage_bytes <= memory[0] for b in held)
    assert all(b.activation_bytes <= memory[1] for b in held)
    cells = [
        cell
        for b in held
        for cell in itertools.product(range(*b.channels), range(*b.inputs), range(*b.columns))
    ]
    assert len(cells) == len(set(cells)) == layer.outputs * layer.inputs * columns


@given(st.integers(300, 1200), st.integers(20, 400))
def test_every_value_of_a_network_is_made_by_somebody(weights: int, lines: int) -> None:
    try:
        placement = place(every_operator(), Mesh(3, 2, Memory(weights, lines)))
    except CompileError:
        assume(condition=False)
        return
    check(placement, Mesh(3, 2, Memory(weights, lines)))


def check(placement: Placement, mesh: Mesh) -> None:
    for step in placement.passes:
        held = placement.processors[slice(*step.processors)]
        assert len({(p.x, p.y) for p in held}) == len(held) <= mesh.processors
        assert step.load_bytes == sum(p.weight_bytes + p.stage_bytes for p in held)
        inside = range(*step.processors)
        for processor in held:
            assert processor.routes
            for start, stop in processor.routes:
                assert (start, stop) == (EXTERNAL, EXTERNAL) or (
                    start in inside and stop - 1 in inside
                )


def test_positions_run_along_rows_like_a_snake() -> None:
    mesh = Mesh(3, 2, Memory(1, 1))
    assert mesh.positions() == ((0, 0), (1, 0), (2, 0), (2, 1), (1, 1), (0, 1))


def test_a_network_that_fits_is_loaded_once() -> None:
    placement = place(every_operator(), MESH)
    assert len(placement.passes) == 1
    assert placement.passes[0].launches == (0, 2)
    assert placement.reload_bytes == 0


def test_layers_that_find_no_room_come_in_the_next_pass_and_are_loaded_every_frame() -> None:
    graph = every_operator()
    placement = place(graph, Mesh(3, 2, Memory(65536, 65536)))
    assert [p.processors for p in placement.passes] == [(0, 6), (6, 12), (12, 14)]
    assert placement.reload_bytes == sum(p.load_bytes for p in placement.passes) > 0
    # What the first pass makes and the second reads: the concat's operands.
    names = [p.layer for p in placement.processors[:6]]
    away = [
        n.outputs[0]
        for n in graph.nodes
        if n.name in names
        and any((EXTERNAL, EXTERNAL) in p.routes for p in placement.of_layer()[n.name])
    ]
    total = sum(graph.tensor(v).size * element_of(graph, v).bits // 8 for v in away)
    assert placement.passes[0].spill_bytes == total


def test_a_layer_larger_than_the_mesh_spreads_over_passes() -> None:
    net = Net((1, 64))
    out = net.dequantize(net.dense(net.quantize(), 64))
    placement = place(net.graph(out), Mesh(2, 2, Memory(500, 500)))
    assert [p.processors for p in placement.passes] == [(0, 4), (4, 8), (8, 10)]


def test_levels_go_to_the_processors_that_read_their_channels() -> None:
    net = Net((1, 4, 6, 6))
    first = net.conv(net.quantize(), 8, kernel=(1, 1), pad=0)
    second = net.conv(first, 8, groups=8)
    placement = place(net.graph(second), Mesh(4, 4, Memory(330, 65536)))
    by_layer = placement.of_layer()
    makers, readers = by_layer[net.nodes[1].name], by_layer[net.nodes[2].name]
    assert len(makers) == 2
    for maker in makers:
        reached = {i for start, stop in maker.routes for i in range(start, stop)}
        wanted = {
            r.index
            for r in readers
            if r.channels[0] < maker.channels[1] and maker.channels[0] < r.channels[1]
        }
        assert reached == wanted


def test_levels_go_to_the_tiles_that_read_their_columns() -> None:
    net = Net((1, 1, 4, 16))
    net.conv(net.conv(net.quantize(), 1), 1)
    graph = net.graph(net.dequantize(net.nodes[-1].outputs[0]))
    placement = place(graph, Mesh(4, 4, Memory(4096, 3 * 6)))
    tiles = [(p.columns, p.routes) for p in placement.processors]
    # The second layer's tiles make columns 0 to 7 and 8 to 15, and so read 0 to 8 and 7 to 15.
    assert tiles == [
        ((0, 4), ((4, 5),)),
        ((4, 8), ((4, 6),)),
        ((8, 12), ((4, 6),)),
        ((12, 16), ((5, 6),)),
        ((0, 8), ((EXTERNAL, EXTERNAL),)),
        ((8, 16), ((EXTERNAL, EXTERNAL),)),
    ]


def test_parts_of_a_sum_are_handed_to_the_next_processor() -> None:
    net = Net((1, 4096))
    out = net.dequantize(net.dense(net.quantize(), 1))
    placement = place(net.graph(out), Mesh(4, 4, Memory(2048, 65536)))
    assert [p.routes for p in placement.processors] == [
        ((1, 2),),
        ((2, 3),),
        ((EXTERNAL, EXTERNAL),),
    ]


def test_the_short_branch_of_an_add_waits_for_the_long_one() -> None:
    net = Net((1, 4, 16, 16))
    start = net.conv(net.quantize(), 4, out=I8)
    long_ = net.conv(net.conv(net.conv(start, 4, out=I8), 4, out=I8), 4, out=I8)
    out = net.add(start, long_)
    rows = held_rows(net.graph(out), net.nodes)
    assert rows == {net.nodes[-1].name: 4}


def test_branches_of_equal_length_wait_for_no_row() -> None:
    net = Net((1, 4, 16, 16))
    start = net.conv(net.quantize(), 4, out=I8)
    out = net.add(net.conv(start, 4, out=I8), net.conv(start, 4, out=I8))
    assert held_rows(net.graph(out), net.nodes) == {net.nodes[-1].name: 1}


def test_layers_that_fit_nowhere_are_all_named_with_their_arithmetic() -> None:
    with pytest.raises(CompileError) as caught:
        place(small_graph(), Mesh(4, 4, Memory(40, 65536)))
    first, *_ = caught.value.diagnostics
    assert first.code == "LB501"
    assert "9 taps x 4 bit = 5 B + 60 B of output-stage constants = 65 B" in first.found
    assert "40 B for weights" in first.allowed
    assert "cutting by output channels" in first.hint


def test_a_finding_says_which_fewer_bits_would_fit() -> None:
    net = Net((1, 4, 16, 16))
    out = net.conv(net.quantize(element=U8), 4, kernel=(9, 1), pad=0, out=I8)
    with pytest.raises(CompileError) as caught:
        place(net.graph(out), Mesh(4, 4, Memory(65536, 5)))
    assert "it fits with input levels of 4 bit" in caught.value.diagnostics[0].hint


def test_moves_cost_no_processor_but_turns_and_joins_do() -> None:
    placement = place(every_operator(), MESH)
    by_name = {n.name: n for n in every_operator().nodes}
    kinds = {type(by_name[name]) for name in placement.of_layer()}
    assert not kinds & {q.QSlice, q.QPad, q.QUpsample, q.QReshape}
    assert {q.QTranspose, q.QConcat, q.QAdd, q.QTable} <= kinds
    assert I8.bits == 8
