"""The passes from a folded graph to an integer one, as the compiler runs them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lowbitc.compiler.bits import parse_bits
from lowbitc.compiler.execute import FloatSession
from lowbitc.compiler.manager import PassManager
from lowbitc.passes.absorb_shifts import AbsorbShifts
from lowbitc.passes.assign_devices import AssignDevices
from lowbitc.passes.bin_weights import BinWeights
from lowbitc.passes.calibrate_pact import CalibratePact
from lowbitc.passes.partition import Partition
from lowbitc.passes.quantize import Quantize
from tests.quantization.networks import samples

if TYPE_CHECKING:
    from lowbitc.compiler.elements import Array
    from lowbitc.compiler.ir.graph import Graph


def integer_graph(graph: Graph, bits: str, clip: str = "mse", weights: str = "mse") -> Graph:
    """Quantize a folded graph on sixteen samples; every node may run on the chip."""
    width = parse_bits(bits)
    shape = graph.shape("x")
    passes = (
        AssignDevices(lambda _graph: {}, width),
        AbsorbShifts(),
        CalibratePact(lambda: samples(16, shape), width, clip),
        BinWeights(width, weights),
        Quantize(),
        Partition(),
    )
    return PassManager(passes).run(graph).graph


def float_outputs(graph: Graph, x: Array) -> Array:
    """Return the first output of a float graph."""
    return np.asarray(FloatSession(graph, threads=1).run({"x": x})[graph.outputs[0]])


def signal_to_noise(wanted: Array, found: Array) -> float:
    """Return the ratio of signal to error power in decibels."""
    signal, seen = np.asarray(wanted, np.float64), np.asarray(found, np.float64)
    noise = np.sum((signal - seen) ** 2)
    return float(10 * np.log10(np.sum(signal**2) / noise)) if noise else np.inf
