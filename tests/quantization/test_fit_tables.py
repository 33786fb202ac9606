"""What a table reads is scaled for what the table gives."""

from __future__ import annotations

import numpy as np
import pytest

from lowbitc.compiler.elements import I8, U8
from lowbitc.compiler.ir import ops
from lowbitc.compiler.ir.types import Clip
from lowbitc.compiler.statistics.clips import clip_mse
from lowbitc.compiler.statistics.histogram import HistogramAccumulator
from lowbitc.passes.calibrate_pact import CalibratePact
from lowbitc.passes.fit_tables import fit_table_inputs
from lowbitc.passes.tabulate import activation_table, activation_values
from tests.quantization.networks import Builder, samples

NET = Builder((1, 3, 12, 12))
SUM = NET.conv("x", 4)
OUT = NET.silu(SUM)
GRAPH = NET.graph(OUT)
NODE = GRAPH.nodes[1]
RNG = np.random.default_rng(0)


def error_of(clip: Clip, output: Clip, x: np.ndarray) -> float:
    """Return the mean squared error of the activation behind an index."""
    table = activation_table(GRAPH, NODE, clip, output).astype(np.float64) * output.scale
    index = np.clip(np.floor(x / clip.scale + 0.5) + clip.zero, -128, 127).astype(int)
    wanted = activation_values(GRAPH, NODE, x.astype(np.float64))
    return float(np.mean(np.square(table[index + 128] - wanted)))


@pytest.mark.parametrize("spread", [0.5, 3.0, 12.0])
def test_the_fitted_index_costs_less_than_the_one_of_least_error(spread: float) -> None:
    x = RNG.laplace(0, spread, 20_000).astype(np.float32)
    counted = HistogramAccumulator()
    counted.add(x)
    histogram = counted.result()
    given = Clip(I8, clip_mse(histogram, I8).scale)
    output = Clip(I8, float(np.abs(x).max() / 127))
    fitted = fit_table_inputs(GRAPH, {SUM: given, OUT: output}, {SUM: histogram})[SUM]
    assert error_of(fitted, output, x) < 0.9 * error_of(given, output, x)


def test_sums_that_were_not_seen_keep_their_clip() -> None:
    clips = {SUM: Clip(I8, 0.1), OUT: Clip(I8, 0.1)}
    assert fit_table_inputs(GRAPH, clips, {}) == {}


def test_only_what_a_table_reads_is_moved() -> None:
    clips = CalibratePact(lambda: samples(4)).run(GRAPH).graph.clips
    assert clips[SUM].zero != 0
    assert clips["x"].zero == clips[OUT].zero == 0


def test_slices_of_one_unsigned_input_join_unsigned() -> None:
    net = Builder((1, 3, 12, 12))
    parts: list[str] = []
    for start in (0, 1):
        cut = ops.Slice(
            **net.base("Slice", "x"), starts=(start,), ends=(12,), axes=(2,), steps=(2,)
        )
        parts.append(net.put(cut, (1, 3, 6, 12)))
    joined = net.concat(*parts)
    graph = net.graph(net.relu(net.conv(joined, 4)))
    pixels = [{"x": np.abs(s["x"])} for s in samples(4)]
    clips = CalibratePact(lambda: pixels).run(graph).graph.clips
    assert clips[joined] == clips["x"]
    assert clips[joined].element == U8
