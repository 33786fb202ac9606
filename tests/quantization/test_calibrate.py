"""Calibration: order-free, bounded, and clear about data it cannot use."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from lowbitc.compiler.bits import parse_bits
from lowbitc.compiler.diagnostics import CompileError, Severity
from lowbitc.compiler.elements import I8, U4, U8
from lowbitc.passes.calibrate_data_free import CalibrateDataFree
from lowbitc.passes.calibrate_pact import CalibratePact
from lowbitc.passes.plan_levels import CLIP_METHODS
from lowbitc.passes.propagate_moments import Moments, propagate
from tests.quantization.networks import Builder, residual_network, samples

if TYPE_CHECKING:
    from lowbitc.compiler.elements import Array


@pytest.mark.parametrize("method", CLIP_METHODS)
def test_clips_do_not_depend_on_the_order_of_samples(method: str) -> None:
    graph, held = residual_network(), samples(8)
    bits = parse_bits("8/4/4")
    forward = CalibratePact(lambda: held, bits, method).run(graph).graph.clips
    backward = CalibratePact(lambda: held[::-1], bits, method).run(graph).graph.clips
    assert forward == backward


def test_relu_outputs_are_unsigned_and_inputs_follow_their_data() -> None:
    graph = residual_network()
    clips = CalibratePact(lambda: samples(4), parse_bits("8/4/4")).run(graph).graph.clips
    assert clips["x"].element == I8
    positive = [{"x": np.abs(s["x"])} for s in samples(4)]
    assert CalibratePact(lambda: positive).run(graph).graph.clips["x"].element == U8
    relu = next(n for n in graph.nodes if n.op == "Relu")
    assert clips[relu.outputs[0]].element == U4


def test_an_input_of_pixels_keeps_its_exact_steps() -> None:
    """255 steps of 1/255 are the pixels themselves: nothing is lost at the border."""
    graph = residual_network()
    random = np.random.default_rng(0)
    images = [random.integers(0, 256, (1, 3, 12, 12)).astype(np.float32) for _ in range(4)]
    pixels = [{"x": image / np.float32(255)} for image in images]
    clip = CalibratePact(lambda: pixels, method="minmax").run(graph).graph.clips["x"]
    assert clip.element == U8
    assert clip.scale == pytest.approx(1 / 255, rel=1e-6)


def test_no_samples_are_refused() -> None:
    with pytest.raises(CompileError) as refused:
        CalibratePact(list).run(residual_network())
    assert [d.code for d in refused.value.diagnostics] == ["LB301"]


def test_values_that_are_not_finite_name_their_layer() -> None:
    net = Builder((1, 1, 4, 4))
    out = net.conv("x", 2)
    graph = net.graph(net.conv(net.relu(out), 2))
    constants: dict[str, Array] = {**graph.constants, "b0": np.array([3e38, 0], np.float32)}
    broken = graph.replace(constants={**constants, "w0": np.full((2, 1, 3, 3), 3e38, np.float32)})
    with pytest.raises(CompileError) as refused:
        CalibratePact(lambda: samples(2, (1, 1, 4, 4))).run(broken)
    codes = {d.code for d in refused.value.diagnostics}
    assert codes == {"LB302"}
    assert any(d.sources for d in refused.value.diagnostics)


def test_a_dead_activation_is_a_warning() -> None:
    net = Builder((1, 1, 4, 4))
    dead = net.relu(net.conv("x", 1))
    graph = net.graph(net.conv(dead, 2))
    constants = {**graph.constants, "b0": np.array([-1e4], np.float32)}
    result = CalibratePact(lambda: samples(2, (1, 1, 4, 4))).run(graph.replace(constants=constants))
    assert [(d.code, d.severity) for d in result.diagnostics] == [("LB303", Severity.WARNING)]


def test_relu6_never_gets_a_clip_above_six() -> None:
    graph = residual_network()
    wide: list[dict[str, Array]] = [{"x": 100 * np.asarray(s["x"], np.float32)} for s in samples(4)]
    plain = CalibratePact(lambda: wide, method="minmax").run(graph).graph.clips
    relu = next(n for n in graph.nodes if n.op == "Relu").outputs[0]
    assert plain[relu].scale * 255 > 6


def test_moments_through_layers_match_a_gaussian_input() -> None:
    graph = residual_network()
    moments = propagate(graph, {})
    random = np.random.default_rng(5)
    conv = graph.nodes[0]
    x = random.normal(0, 1, (4000, 27))
    w = np.reshape(np.asarray(graph.constants[conv.inputs[1]], np.float64), (8, -1))
    seen = x @ w.T + np.asarray(graph.constants[conv.inputs[2]], np.float64)
    found = moments[conv.outputs[0]]
    assert np.allclose(found.mean, seen.mean(axis=0), atol=0.1)
    assert np.allclose(found.deviation, seen.std(axis=0), rtol=0.1)


def test_known_moments_win_over_propagated_ones() -> None:
    graph = residual_network()
    value = graph.nodes[0].outputs[0]
    known = {value: Moments(np.full(8, 3.0), np.full(8, 0.5))}
    assert propagate(graph, known)[value] is known[value]


def test_calibration_without_data_warns_and_fills_every_clip() -> None:
    graph = residual_network()
    result = CalibrateDataFree({}).run(graph)
    with_data = CalibratePact(lambda: samples(16)).run(graph).graph.clips
    assert [d.code for d in result.diagnostics] == ["LB310"]
    assert result.graph.clips.keys() == with_data.keys()
    for value, clip in result.graph.clips.items():
        assert 0.2 < clip.scale / with_data[value].scale < 5, value
