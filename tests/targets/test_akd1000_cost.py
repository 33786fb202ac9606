"""What akd1000's layers cost where processors are shared, and weights are streamed."""

from __future__ import annotations

import numpy as np
import pytest

from lowbitc.compiler.elements import I4, I8, U4
from lowbitc.targets.cost import Cost, LayerCost, estimate_cost
from lowbitc.targets.engines.events import Counts
from lowbitc.targets.engines.simulator import Simulator
from lowbitc.targets.placement.place import place
from lowbitc.targets.placement.split import Cut
from lowbitc.targets.program.emit import emit
from lowbitc.targets.program.load import program_of
from lowbitc.targets.registry import load_target
from tests.program.graphs import ORIGIN, Net

CHIP = load_target("akd1000")


def separable(blocks: int, tiles: int = 1) -> tuple[Cost, tuple[LayerCost, ...]]:
    net = Net((1, 8, 6, 6))
    half = net.conv(net.quantize(element=U4), 8, groups=8, out=I8)
    net.conv(half, 16, kernel=(1, 1), pad=0, out=U4)
    graph = net.graph(net.nodes[-1].outputs[0])
    cut = Cut(16 // blocks, 1, tiles)
    program = program_of(emit(graph, place(graph, CHIP.mesh, cuts={"QConv2": cut}), ORIGIN))
    counts = Counts()
    frames = np.random.default_rng(0).random((4, 8, 6, 6), np.float32)
    Simulator(program, "fast", threads=1).run({"x": frames}, counts=counts)
    return estimate_cost(program, CHIP, counts)


def test_every_processor_of_a_tile_does_the_depthwise_half_again() -> None:
    (_, one), (_, four) = separable(1), separable(4)
    (half, point), (shared, quarter) = one, four
    assert [p.synaptic_ops for p in shared.by_processor] == [half.synaptic_ops] * 4
    assert shared.cycles == half.cycles
    assert [p.synaptic_ops for p in quarter.by_processor] == [point.synaptic_ops / 4] * 4
    assert quarter.synaptic_ops == point.synaptic_ops
    assert shared.energy_j > 3 * half.energy_j


def test_tiles_part_the_depthwise_half() -> None:
    (_, one), (_, two) = separable(1), separable(1, tiles=2)
    assert sum(p.synaptic_ops for p in two[0].by_processor) == pytest.approx(one[0].synaptic_ops)
    assert two[0].cycles < one[0].cycles


def test_a_processors_shares_add_up_to_what_a_stream_of_frames_waits_for() -> None:
    cost, layers = separable(2)
    busiest = sum(layer.cycles for layer in layers)
    assert CHIP.figure("clock") / cost.frames_per_second == pytest.approx(busiest)


def test_streamed_weights_come_again_with_every_frame() -> None:
    net = Net((1, 4096))
    graph = net.graph(net.dequantize(net.dense(net.quantize(element=U4), 64, weight=I4)))
    placement = place(graph, CHIP.mesh)
    program = program_of(emit(graph, placement, ORIGIN))
    counts = Counts()
    Simulator(program, "fast", threads=1).run({"x": np.ones((1, 4096), np.float32)}, counts=counts)
    cost, (layer,) = estimate_cost(program, CHIP, counts)
    streamed = 4096 * 64 // 2 / CHIP.figure("external_bytes_per_cycle")
    assert cost.cycles_per_frame == pytest.approx(layer.cycles + streamed)
