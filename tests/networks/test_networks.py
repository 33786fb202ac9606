"""Networks of many shapes: all engines agree bit for bit, and with float as closely as bits let."""

from __future__ import annotations

import numpy as np
import pytest

from lowbitc.compilation import compile_with
from lowbitc.options import settle
from lowbitc.targets.engines.simulator import Simulator
from tests.networks.building import Model
from tests.networks.running import outcome, smooth
from tests.networks.zoo import CASES


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(("bits", "level"), [("8/8/8", 0), ("8/4/4", 1)])
def test_engines_agree_with_each_other_and_with_float(name: str, bits: str, level: int) -> None:
    case = CASES[name]()
    found = outcome(case.model, bits, case.inputs, case.shapes)
    assert len(found.program.launches) == case.launches
    assert min(found.decibels(output) for output in case.outputs) >= case.least[level]


def test_what_depends_on_the_data_has_its_shape_on_the_cpu() -> None:
    net = Model()
    scores = net.dense(net.relu(net.dense(net.input("x", "n", 12), 12, 16)), 16, 8)
    places = net.add("NonZero", net.add("Greater", scores, net.constant(np.float32(0))))
    chosen = net.add("GatherND", scores, net.add("Transpose", places, perm=[1, 0]))
    found = outcome(net.done(chosen, scores), "8/8/8", {"x": smooth(1, 12)})
    assert found.decibels(scores) > 30
    kept = np.asarray(found.found[scores])
    assert np.array_equal(found.found[chosen].ravel(), kept[kept > 0])
    assert {"NonZero", "GatherND"} <= set(found.reasons)


def test_products_of_activations_say_so() -> None:
    reasons = outcome(
        CASES["transformer"]().model, "8/8/8", CASES["transformer"]().inputs, ["ids=N,6"]
    ).reasons
    assert reasons["MatMul"] == "LB210"
    assert reasons["Softmax"] == "LB200"


@pytest.mark.parametrize("bits", ["8/8/8", "8/4/8", "8/4/4", "8/2/8", "8/1/8"])
@pytest.mark.parametrize("after", ["nothing", "silu", "relu"])
def test_channels_without_weights_keep_their_bias(bits: str, after: str) -> None:
    net = Model(3)
    inner = net.relu(net.conv(net.input("x", "n", 3, 6, 6), 3, 4))
    weights = net.random.normal(0, 0.4, (5, 4, 3, 3))
    weights[[1, 3]] = 0
    biases = net.constant([0.1, 0.7, -0.2, -0.6, 0.3])
    y = net.add("Conv", inner, net.constant(weights), biases, pads=[1] * 4)
    if after != "nothing":
        y = net.silu(y) if after == "silu" else net.relu(y)
    z = net.conv(y, 5, 3)
    found = outcome(net.done(z, y), bits, {"x": smooth(6, 3, 6, 6)})
    step = 0.25 if bits.endswith("4") else 0.05
    for channel in (1, 3):
        wanted = np.asarray(found.wanted[y])[:, channel]
        assert np.abs(np.asarray(found.found[y])[:, channel] - wanted).max() < step


def test_an_output_without_weights_is_its_bias() -> None:
    net = Model(4)
    inner = net.relu(net.conv(net.input("x", "n", 3, 6, 6), 3, 4))
    y = net.add("Conv", inner, net.constant(np.zeros((2, 4, 1, 1))), net.constant([0.1419, -3.3]))
    assert outcome(net.done(y), "8/8/8", {"x": smooth(4, 3, 6, 6)}).decibels(y) > 90


def test_an_input_may_be_a_number() -> None:
    net = Model(5)
    x, rate = net.input("x", "n", 12), net.input("rate", kind="int64")
    y = net.dense(net.relu(net.dense(x, 12, 8)), 8, 4)
    scaled = net.add("Mul", y, net.add("Cast", rate, to=1))
    inputs = {"x": smooth(4, 12), "rate": np.full(4, 3, np.int64)}
    assert outcome(net.done(scaled), "8/8/8", inputs).decibels(scaled) > 30


def test_a_model_that_takes_no_zeros_compiles_without_data() -> None:
    net = Model(6)
    x, size = net.input("x", "n", 12), net.input("size", 3, kind="int64")
    y = net.dense(net.reshape(net.add("Reshape", x, size), 1, 12), 12, 8)
    inputs = {"x": smooth(1, 12), "size": np.array([[1, 3, 4]])}
    program = compile_with(net.done(y), settle(None, bits="8/8/8", threads=1)).program
    assert not program.known_answers
    assert Simulator(program).run(inputs)[y].shape == (1, 8)
