"""Moving gains, biases and clips together: what moves, what stays, and that the outputs gain."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pytest

from lowbitc.compiler.bits import parse_bits
from lowbitc.compiler.execute import FloatSession
from lowbitc.compiler.execute_levels import LevelSession
from lowbitc.compiler.ir import ops
from lowbitc.compiler.manager import PassManager
from lowbitc.passes.absorb_shifts import AbsorbShifts
from lowbitc.passes.assign_devices import AssignDevices
from lowbitc.passes.calibrate_pact import CalibratePact
from lowbitc.passes.quantize import Quantize
from lowbitc.passes.recipes import Recipe
from lowbitc.passes.round_weights import RoundWeights
from lowbitc.passes.staged_network import StagedNetwork
from lowbitc.passes.tune_stages import shift_image, tune_stages
from tests.quantization.networks import Builder, residual_network, samples

if TYPE_CHECKING:
    from lowbitc.compiler.elements import Float64
    from lowbitc.compiler.ir.graph import Graph

COUNT = 64


def rounded(graph: Graph, bits: str) -> tuple[Graph, Graph]:
    """Return the calibrated graph with float weights, and the same with levels, not tuned."""
    width, shape = parse_bits(bits), graph.shape("x")
    passes = (
        AssignDevices(lambda _graph: {}, width),
        AbsorbShifts(),
        CalibratePact(lambda: samples(COUNT, shape), width, threads=1),
    )
    before = PassManager(passes).run(graph).graph
    step = RoundWeights(lambda: samples(COUNT, shape), width, Recipe(tune_stages=False), threads=1)
    return before, step.run(before).graph


def tuned(before: Graph, after: Graph, bits: str, threads: int = 1) -> Graph:
    shape = before.shape("x")
    return tune_stages(before, after, parse_bits(bits), lambda: samples(COUNT, shape), threads)


def held_out(graph: Graph, count: int = 200) -> dict[str, np.ndarray]:
    random = np.random.default_rng(23)
    shape = (count, *graph.shape("x")[1:])
    return {"x": random.normal(0, 1, shape).astype(np.float32)}


def scores(graph: Graph, x: dict[str, np.ndarray]) -> Float64:
    """Return what the chip makes of samples."""
    whole = Quantize().run(graph).graph
    found = LevelSession(whole, threads=1).run(x)[whole.outputs[0]]
    return np.asarray(found, np.float64)


def divergence(before: Graph, graph: Graph) -> float:
    x = held_out(before)
    wanted = FloatSession(before, threads=1).arrays(x)[before.outputs[0]]
    a, b = (
        v - np.log(np.exp(v).sum(axis=1, keepdims=True))
        for v in (np.asarray(wanted, np.float64), scores(graph, x))
    )
    return float((np.exp(a) * (a - b)).sum(axis=1).mean())


@pytest.mark.parametrize("bits", ["8/2/4", "8/2/2"])
def test_what_is_staged_is_what_the_chip_computes(bits: str) -> None:
    before, after = rounded(residual_network(), bits)
    x = held_out(before)
    found = StagedNetwork(after).forward(x).values[after.outputs[0]]
    gap = np.abs(np.asarray(found, np.float64) - scores(after, x))
    assert np.median(gap) < 1e-5
    assert np.mean(gap > 1e-3) < 0.05


def test_gradients_point_where_the_outputs_move() -> None:
    _, after = rounded(residual_network(), "8/8/8")
    network = StagedNetwork(after)
    x = held_out(after, 100)
    output = after.outputs[0]
    trace = network.forward(x)
    seed = np.random.default_rng(3).normal(size=trace.values[output].shape).astype(np.float32)
    slopes = network.backward(trace, {output: seed})

    def value() -> float:
        found = np.asarray(network.forward(x).values[output], np.float64)
        return float((found * seed).sum())

    for name, affine in network.affine.items():
        for moved, slope in ((affine.gain, slopes.gain[name]), (affine.bias, slopes.bias[name])):
            step = 0.2 * np.sign(slope) * (np.abs(moved) + 0.1)
            start = moved.copy()
            ends: list[float] = []
            for sign in (1, -1):
                moved[:] = start + sign * step
                ends.append(value())
            moved[:] = start
            wanted = 2 * float((slope * step).sum())
            assert ends[0] - ends[1] == pytest.approx(wanted, rel=0.4), name


def damaged(graph: Graph) -> Graph:
    """Return a rounded graph with wrong biases and scales."""
    types, constants = dict(graph.types), dict(graph.constants)
    for node in graph.nodes:
        if isinstance(node, ops.Conv):
            weights, bias = node.inputs[1:3]
            held = graph.tensor(weights)
            off = np.where(np.arange(len(held.scale)) % 2, 1.2, 0.85)
            scales = tuple((np.asarray(held.scale) * off).tolist())
            types[weights] = dataclasses.replace(held, scale=scales)
            constants[bias] = (constants[bias] * off).astype(np.float32)
    return graph.replace(types=types, constants=constants)


@pytest.mark.parametrize("bits", ["8/2/4", "8/2/2"])
def test_what_is_wrong_with_gains_and_biases_is_mended(bits: str) -> None:
    before, after = rounded(residual_network(), bits)
    wrong = damaged(after)
    right, start, end = (divergence(before, g) for g in (after, wrong, tuned(before, wrong, bits)))
    assert right < start
    assert end < right + 0.6 * (start - right)


def test_levels_stay_and_what_shares_a_clip_goes_on_to() -> None:
    before, after = rounded(residual_network(), "8/2/2")
    after = damaged(after)
    moved = tuned(before, after, "8/2/2")
    assert [n.name for n in moved.nodes] == [n.name for n in after.nodes]
    for node in after.nodes:
        if isinstance(node, (ops.Conv, ops.Dense)):
            weights, bias = node.inputs[1:3]
            assert moved.constants[weights] is after.constants[weights]
            assert moved.constants[bias].dtype == np.float32
            assert moved.tensor(weights).scale != after.tensor(weights).scale
    shared: dict[float, set[str]] = {}
    for value, clip in after.clips.items():
        shared.setdefault(clip.scale, set()).add(value)
    for values in shared.values():
        assert len({moved.clips[v].scale for v in values}) == 1
    assert moved.clips["x"] == after.clips["x"]


def test_a_second_run_gives_the_same_bits_on_other_threads() -> None:
    before, after = rounded(residual_network(), "8/2/2")
    first, second = (tuned(before, damaged(after), "8/2/2", threads) for threads in (1, 3))
    assert first.clips == second.clips
    for value, array in first.constants.items():
        assert np.array_equal(array, second.constants[value])


def test_layers_on_the_way_come_nearer_to_the_float_ones() -> None:
    before, after = rounded(residual_network(), "8/2/2")
    wrong = damaged(after)
    x = held_out(before)
    values = tuple(n.outputs[0] for n in before.nodes if isinstance(n, ops.Relu))
    wanted = FloatSession(before, values, threads=1).arrays(x)

    def gap(graph: Graph) -> float:
        found = StagedNetwork(graph).forward(x).values
        gaps = [
            np.asarray(found[v], np.float64) - np.asarray(wanted[v], np.float64) for v in values
        ]
        return float(np.mean([np.square(g).mean() for g in gaps]))

    right, start, end = (gap(g) for g in (after, wrong, tuned(before, wrong, "8/2/2")))
    assert right < start
    assert end < right + 0.3 * (start - right)


def test_an_image_is_shifted_with_its_edges_repeated() -> None:
    image = np.arange(16.0).reshape(1, 1, 4, 4)
    moved = shift_image(image, np.array([0.25, -0.25]))
    assert np.array_equal(moved[0, 0, :3, 1:], image[0, 0, 1:, :3])
    assert np.array_equal(moved[0, 0, 3], moved[0, 0, 2])
    assert np.array_equal(moved[0, 0, :, 0], moved[0, 0, :, 1])


def with_a_table() -> Graph:
    net = Builder((1, 3, 8, 8))
    made = net.relu(net.conv(net.silu(net.conv("x", 4)), 4))
    return net.graph(net.dense(net.flat(net.mean(made)), 5))


def without_scores() -> Graph:
    net = Builder((1, 3, 8, 8))
    return net.graph(net.conv(net.relu(net.conv("x", 4)), 2))


@pytest.mark.parametrize("graph", [with_a_table(), without_scores()])
def test_networks_that_it_cannot_tune_stay_as_they_are(graph: Graph) -> None:
    before, after = rounded(graph, "8/2/2")
    assert tuned(before, after, "8/2/2") is after


def test_too_few_samples_for_what_would_move_tune_nothing() -> None:
    before, after = rounded(residual_network(), "8/2/2")
    wrong = damaged(after)
    few = samples(4, before.shape("x"))
    assert tune_stages(before, wrong, parse_bits("8/2/2"), lambda: few, 1) is wrong


def test_nothing_is_tuned_from_four_bits_up() -> None:
    before, after = rounded(residual_network(), "8/4/4")
    shape = before.shape("x")
    step = RoundWeights(lambda: samples(COUNT, shape), parse_bits("8/4/4"), threads=1)
    whole = step.run(before).graph
    assert whole.clips == after.clips
    for value, array in after.constants.items():
        assert np.array_equal(array, whole.constants[value])
