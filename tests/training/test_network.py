"""What training computes is what the chip computes: the same levels in every layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from lowbitc.compiler.ir.graph import Graph

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'lowbitc[train]'")

from lowbitc.compiler.bits import parse_bits  # noqa: E402 - after the check for torch
from lowbitc.compiler.elements import ACCUMULATOR_BITS  # noqa: E402
from lowbitc.compiler.execute_levels import LevelSession  # noqa: E402
from lowbitc.compiler.manager import PassManager  # noqa: E402
from lowbitc.passes.absorb_shifts import AbsorbShifts  # noqa: E402
from lowbitc.passes.assign_devices import AssignDevices  # noqa: E402
from lowbitc.passes.bin_weights import BinWeights  # noqa: E402
from lowbitc.passes.calibrate_pact import CalibratePact  # noqa: E402
from lowbitc.passes.quantize import Quantize, level_name  # noqa: E402
from lowbitc.training.network import QuantizedNetwork  # noqa: E402
from lowbitc.training.quantizers import WeightMethod  # noqa: E402
from lowbitc.training.straight_through import ClipGradient  # noqa: E402
from lowbitc.training.write_back import settle, write_back  # noqa: E402
from tests.quantization.networks import Builder, residual_network, samples  # noqa: E402


def branching_network() -> Graph:
    """Tables, a batch norm behind a ReLU, a join of two scales, pools, a grouped layer."""
    net = Builder((1, 3, 12, 12), 3)
    stem = net.relu(net.conv("x", 8, stride=2))
    shifted = net.scale_shift(stem, np.linspace(0.5, 2, 8), np.linspace(-0.5, 0.5, 8))
    smooth = net.silu(net.conv(shifted, 8, groups=2))
    plain = net.relu(net.conv(stem, 6))
    joined = net.concat(smooth, plain)
    pooled = net.max_pool(joined)
    return net.graph(net.dense(net.flat(net.mean(net.conv(pooled, 12))), 5))


def calibrated(graph: Graph, bits: str) -> Graph:
    width, shape = parse_bits(bits), graph.shape("x")
    passes = (
        AssignDevices(lambda _graph: {}, width),
        AbsorbShifts(),
        CalibratePact(lambda: samples(32, shape), width, threads=1),
    )
    return PassManager(passes).run(graph).graph


def moved(graph: Graph, bits: str, method: WeightMethod) -> QuantizedNetwork:
    """Return a network all of whose parameters have moved a little, as training moves them."""
    network = QuantizedNetwork(graph, parse_bits(bits), method, ClipGradient.PACT)
    torch.manual_seed(5)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.05)
    settle(network)
    return network


@pytest.mark.parametrize("make", [residual_network, branching_network])
@pytest.mark.parametrize(
    ("bits", "method"),
    [
        ("8/8/8", WeightMethod.LSQ),
        ("8/4/4", WeightMethod.SAWB),
        ("2/2/2", WeightMethod.LSQ),
        ("2/1/1", WeightMethod.SAWB_PLUS),
    ],
)
def test_every_level_is_the_chips_but_for_ties(
    make: Callable[[], Graph], bits: str, method: WeightMethod
) -> None:
    network = moved(calibrated(make(), bits), bits, method)
    after = (BinWeights(parse_bits(bits)), Quantize())
    integers = PassManager(after).run(write_back(network)).graph
    x = np.concatenate([s["x"] for s in samples(24)])
    with torch.no_grad():
        found = network.run_levels({"x": torch.as_tensor(x).double()})
    session, chip = LevelSession(integers, threads=1), {"x": x}
    for node in integers.nodes:
        chip.update(session.run_node(node, chip))
    compared = differing = 0
    for value, levels in found.items():
        held = integers.tensor(level_name(value)).levels
        if held is not None and held.bits < ACCUMULATOR_BITS:
            gap = chip[level_name(value)].astype(np.int64) - levels.numpy().astype(np.int64)
            compared += gap.size
            differing += int((gap != 0).sum())
    assert compared > 24 * 1000
    # A multiplier of 24 bits moves a step by 2^-24 of it, which a few sums may lie within.
    assert differing <= compared * 1e-5
    for value in network.results:
        scale = np.abs(chip[value]).max()
        assert np.allclose(found[value].numpy(), chip[value], atol=1e-5 * scale)


def test_training_starts_from_levels_where_weights_are_rounded() -> None:
    bits = parse_bits("2/2/2")
    rounded = BinWeights(bits).run(calibrated(residual_network(), "2/2/2")).graph
    network = QuantizedNetwork(rounded, bits, WeightMethod.LSQ, ClipGradient.PACT_PLUS)
    for layer in network.weighted_layers():
        name = layer.chain.compute.inputs[1]
        levels, scales = layer.quantizer.levels(layer.weights)
        assert np.array_equal(layer.layout(levels).detach().numpy(), rounded.constants[name])
        assert np.allclose(scales.detach().numpy(), rounded.tensor(name).scale, rtol=1e-6)
