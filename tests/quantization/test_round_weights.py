"""The rounding pass: nearer to float than nearest rounding, and the same however it is run."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

from lowbitc.compiler.bits import parse_bits
from lowbitc.compiler.elements import I4
from lowbitc.compiler.execute_levels import LevelSession
from lowbitc.compiler.ir import ops
from lowbitc.compiler.ir import quantized as q
from lowbitc.compiler.ir.verify import verify
from lowbitc.compiler.manager import PassManager
from lowbitc.passes.absorb_shifts import AbsorbShifts
from lowbitc.passes.assign_devices import AssignDevices
from lowbitc.passes.bin_weights import BinWeights
from lowbitc.passes.calibrate_pact import CalibratePact
from lowbitc.passes.quantize import Quantize
from lowbitc.passes.recipes import Recipe
from lowbitc.passes.replay import Replay
from lowbitc.passes.round_weights import RoundWeights
from tests.quantization.compiling import float_outputs, signal_to_noise
from tests.quantization.networks import Builder, residual_network, samples

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lowbitc.compiler.elements import Array
    from lowbitc.compiler.ir.graph import Graph


def calibrated(graph: Graph, bits: str, count: int = 48) -> Graph:
    width = parse_bits(bits)
    shape = graph.shape("x")
    passes = (
        AssignDevices(lambda _graph: {}, width),
        AbsorbShifts(),
        CalibratePact(lambda: samples(count, shape), width, threads=1),
    )
    return PassManager(passes).run(graph).graph


def rounded(graph: Graph, bits: str, recipe: Recipe | None = None, count: int = 48) -> Graph:
    """Quantize with the rounding pass, to an integer graph."""
    shape = graph.shape("x")
    step = RoundWeights(
        lambda: samples(count, shape), parse_bits(bits), recipe or Recipe(), threads=1
    )
    return PassManager((step, Quantize())).run(calibrated(graph, bits, count)).graph


def held_out(graph: Graph, count: int = 40) -> Array:
    random = np.random.default_rng(23)
    return random.normal(0, 1, (count, *graph.shape("x")[1:])).astype(np.float32)


def outputs(quantized: Graph, x: Array) -> Array:
    return LevelSession(quantized, threads=1).run({"x": x})[quantized.outputs[0]]


def noise(graph: Graph, quantized: Graph) -> float:
    x = held_out(graph)
    return signal_to_noise(float_outputs(graph, x), outputs(quantized, x))


@pytest.mark.parametrize("bits", ["8/4/4", "8/2/4", "8/2/2", "2/2/2", "8/1/4"])
def test_held_out_samples_come_nearer_to_float_than_with_nearest_rounding(bits: str) -> None:
    gains: list[float] = []
    for seed in (0, 1):
        graph = residual_network(seed)
        width = parse_bits(bits)
        plain = PassManager((BinWeights(width), Quantize())).run(calibrated(graph, bits)).graph
        gains.append(noise(graph, rounded(graph, bits)) - noise(graph, plain))
    assert np.mean(gains) > 1.0
    assert min(gains) > 0.0


def test_eight_bits_leave_the_outputs_nearly_untouched() -> None:
    graph = residual_network()
    assert noise(graph, rounded(graph, "8/8/8")) > 28


def test_widths_sources_and_outputs_are_as_asked() -> None:
    graph = calibrated(residual_network(), "8/4/4")
    after = RoundWeights(samples, parse_bits("8/4/4"), threads=1).run(graph).graph
    assert list(verify(after)) == []
    assert [n.sources for n in after.nodes] == [n.sources for n in graph.nodes]
    assert [n.outputs for n in after.nodes] == [n.outputs for n in graph.nodes]
    elements = [
        after.tensor(n.inputs[1]).levels
        for n in after.nodes
        if isinstance(n, (ops.Conv, ops.Dense))
    ]
    assert elements[1:] == [I4] * (len(elements) - 1)
    for node in after.nodes:
        if isinstance(node, (ops.Conv, ops.Dense)):
            held = after.tensor(node.inputs[1])
            assert held.levels is not None
            assert set(np.unique(after.constants[node.inputs[1]])) <= set(held.levels.levels())
            assert after.constants[node.inputs[2]].dtype == np.float32


def test_a_second_run_changes_nothing() -> None:
    step = RoundWeights(samples, parse_bits("8/4/4"), threads=1)
    after = step.run(calibrated(residual_network(), "8/4/4")).graph
    again = step.run(after)
    assert not again.changed
    assert again.graph is after


def test_every_weighted_layer_is_reported_once() -> None:
    told: list[int] = []
    graph = calibrated(residual_network(), "8/4/4")
    count = itertools.count()
    step = RoundWeights(
        samples, parse_bits("8/4/4"), threads=1, advance=lambda: told.append(next(count))
    )
    step.run(graph)
    assert len(told) == sum(isinstance(n, (ops.Conv, ops.Dense)) for n in graph.nodes)


def test_the_replay_sees_what_the_whole_integer_graph_computes() -> None:
    graph = calibrated(residual_network(), "8/4/4")
    weighted = BinWeights(parse_bits("8/4/4")).run(graph).graph
    integer = Quantize().run(weighted).graph
    replay = Replay(weighted, lambda: samples(7), threads=1)
    x = np.concatenate([s["x"] for s in samples(7)])
    session = LevelSession(integer, threads=1)
    values: dict[str, Array] = {"x": x}
    for node in integer.nodes:
        values.update(session.run_node(node, values))
    for step in replay.steps:
        for _ in replay.run_float(step):
            pass
        replay.run_seen(step, weighted)
        for value in step.outputs:
            kept = f"{value}.levels"
            if kept in integer.types and value not in integer.outputs:
                assert np.array_equal(replay.read_levels(value, 0, 7), values[kept])
    output = integer.outputs[0]
    assert np.array_equal(replay.read_seen(output, 0, 7), values[output])
    replay.close()


def test_transposed_grouped_and_tall_layers_can_be_rounded() -> None:
    net = Builder((1, 4, 8, 8))
    x = net.relu(net.conv("x", 8))
    x = net.relu(net.conv(x, 8, groups=2))
    kernels = net.constant("up", net.random.normal(0, 0.3, (8, 3, 3, 3)))
    x = net.put(
        ops.ConvTranspose(
            **net.base("ConvTranspose", x, kernels),
            kernel=(3, 3),
            stride=(2, 2),
            dilation=(1, 1),
            pads=(1, 1, 0, 1),
            output_padding=(1, 0),
            groups=2,
        ),
        (1, 6, 17, 15),
    )
    graph = net.graph(net.relu(x))
    width = parse_bits("8/4/8")
    plain = PassManager((BinWeights(width), Quantize())).run(calibrated(graph, "8/4/8")).graph
    assert noise(graph, rounded(graph, "8/4/8")) > noise(graph, plain) + 1


def test_a_branch_corrects_what_the_other_branch_has_lost() -> None:
    gains: list[float] = []
    for seed in range(3):
        net = Builder((1, 6, 10, 10), seed)
        left, right = net.conv("x", 12), net.conv(net.relu(net.conv("x", 12)), 12)
        graph = net.graph(net.relu(net.add(left, right)))
        found = [
            noise(graph, rounded(graph, "2/2/4", Recipe(correct_residuals=correct)))
            for correct in (False, True)
        ]
        gains.append(found[1] - found[0])
    assert min(gains) > 0.5


_PROGRAM = """
import hashlib, sys
from tests.quantization.networks import residual_network
from tests.quantization.test_round_weights import rounded
graph = rounded(residual_network(), "8/2/2", count=int(sys.argv[1]))
digest = hashlib.sha256()
for name in sorted(graph.constants):
    digest.update(name.encode() + graph.constants[name].tobytes())
print(digest.hexdigest())
"""


def test_the_result_does_not_depend_on_the_number_of_threads() -> None:
    found: set[str] = set()
    for threads in ("1", "2", "3"):
        variables = {"OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}
        ran = subprocess.run(
            [sys.executable, "-c", _PROGRAM, "20"],
            env={**os.environ, **variables, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        )
        found.add(ran.stdout)
    assert len(found) == 1


def test_the_result_does_not_depend_on_how_samples_are_batched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    graph = residual_network()
    whole = rounded(graph, "8/2/2")
    monkeypatch.setattr("lowbitc.passes.replay._ELEMENTS_AT_ONCE", 4000)
    split = rounded(graph, "8/2/2")
    _same(whole.constants, split.constants)


def _same(first: Mapping[str, Array], second: Mapping[str, Array]) -> None:
    assert sorted(first) == sorted(second)
    for name, array in first.items():
        assert np.array_equal(array, second[name]), name


def test_sums_beyond_float32_are_exact() -> None:
    net = Builder((1, 4000))
    graph = net.graph(net.dense("x", 3))
    integer = rounded(graph, "8/8/8", count=8)
    node = next(n for n in integer.nodes if isinstance(n, q.QDense))
    levels = np.full((2, 4000), 127, np.int8)
    levels[1, ::2] = -128
    weights = integer.constants[node.inputs[1]].astype(np.int64)
    found = LevelSession(integer, threads=1).sums(node, levels)
    assert np.array_equal(found, levels.astype(np.int64) @ weights.T)
