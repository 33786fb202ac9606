"""Every width of every layer is measured at the outputs, one at a time."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pytest

from lowbitc.compiler.bits import Bits
from lowbitc.compiler.manager import PassManager
from lowbitc.passes.absorb_shifts import AbsorbShifts
from lowbitc.passes.assign_devices import AssignDevices
from lowbitc.passes.calibrate_pact import CalibratePact
from lowbitc.passes.measure_sensitivity import Part, Sensitivity, measure_sensitivity
from tests.quantization.networks import residual_network, samples

if TYPE_CHECKING:
    from lowbitc.compiler.ir.graph import Graph


def _calibrated(graph: Graph) -> Graph:
    bits = Bits()
    passes = (
        AssignDevices(lambda _graph: {}, bits),
        AbsorbShifts(),
        CalibratePact(lambda: samples(12), bits),
    )
    return PassManager(passes).run(graph).graph


def _measure(graph: Graph) -> tuple[Sensitivity, ...]:
    return measure_sensitivity(_calibrated(graph), lambda: samples(12), "mse", lambda _a, _b: None)


@pytest.fixture(scope="module")
def measured() -> tuple[Sensitivity, ...]:
    return _measure(residual_network())


def test_all_weights_and_all_clipped_outputs_are_measured(
    measured: tuple[Sensitivity, ...],
) -> None:
    graph = residual_network()
    weighted = {n.name for n in graph.nodes if n.op in {"Conv", "Dense"}}
    clipped = {n.inputs[0].removesuffix("_out") for n in graph.nodes if n.op == "Relu"}
    assert {s.layer for s in measured if s.part is Part.WEIGHTS} == weighted
    assert {s.layer for s in measured if s.part is Part.ACTIVATIONS} == clipped


def test_fewer_bits_cost_more(measured: tuple[Sensitivity, ...]) -> None:
    held = {(s.layer, s.part, s.width): s.divergence for s in measured}
    for (layer, part, width), lost in held.items():
        assert lost > 0
        if (layer, part, width // 2) in held:
            assert held[layer, part, width // 2] > lost
    zeros = [s.zeros for s in measured if s.part is Part.ACTIVATIONS]
    assert all(zero > 0 for zero in zeros)


def test_a_layer_that_matters_more_costs_more() -> None:
    """Ten times as large logits make the same relative error of the last layer count for more."""
    graph = residual_network()
    last = graph.nodes[-1].inputs[1]
    loud = graph.replace(
        constants={**graph.constants, last: np.multiply(graph.constants[last], np.float32(10))}
    )
    quiet_cost, loud_cost = (
        next(s for s in _measure(g) if s.layer == g.nodes[-1].name and s.width == 4)
        for g in (graph, loud)
    )
    assert loud_cost.divergence > 5 * quiet_cost.divergence


def test_a_dead_branch_costs_nothing() -> None:
    graph = residual_network()
    thin = next(n for n in graph.nodes if n.op == "Add").inputs[0]
    maker = graph.producers()[thin]
    zeros = {name: np.zeros_like(graph.constants[name]) for name in maker.inputs[1:]}
    silent = graph.replace(constants={**graph.constants, **zeros})
    wide = next(n.name for n in graph.nodes if getattr(n, "groups", 1) > 1)
    held = [s.divergence for s in _measure(silent) if s.layer == wide]
    assert held
    assert max(held) < 1e-9


def test_layers_on_the_cpu_have_no_bits() -> None:
    graph = residual_network()
    first = graph.nodes[0].name
    held = _calibrated(graph)
    hosted = dataclasses.replace(held, host_reasons={first: "kept"})
    found = measure_sensitivity(hosted, lambda: samples(4), "mse", lambda _a, _b: None)
    assert first not in {s.layer for s in found}
