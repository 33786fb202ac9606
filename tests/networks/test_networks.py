"""Networks of many shapes: all engines agree bit for bit, and with float as closely as bits let."""

from __future__ import annotations

import numpy as np
import pytest

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
