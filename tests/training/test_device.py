"""Training follows its device: no tensor of a step is made elsewhere."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'lowbitc[train]'")

from lowbitc.compiler.bits import parse_bits  # noqa: E402 - after the check for torch
from lowbitc.training.distributed import alone  # noqa: E402
from lowbitc.training.losses import distance, spreads  # noqa: E402
from lowbitc.training.network import QuantizedNetwork  # noqa: E402
from lowbitc.training.quantizers import WeightMethod  # noqa: E402
from lowbitc.training.straight_through import ClipGradient  # noqa: E402
from tests.training.test_network import branching_network, calibrated  # noqa: E402


@pytest.mark.parametrize(
    ("bits", "method"),
    [("8/4/4", WeightMethod.SAWB), ("2/2/2", WeightMethod.LSQ), ("8/8/8", WeightMethod.MIN_MAX)],
)
def test_a_step_on_another_device_mixes_no_devices(bits: str, method: WeightMethod) -> None:
    graph = calibrated(branching_network(), bits)
    network = QuantizedNetwork(graph, parse_bits(bits), method, ClipGradient.PACT)
    # The device "meta" computes shapes alone, and refuses tensors of other devices as CUDA does.
    network.to("meta")
    x = torch.zeros((4, *graph.shape("x")[1:]), device="meta")
    found = network({"x": x})
    wanted = {name: torch.zeros_like(y.detach()) for name, y in found.items()}
    loss = distance(found, wanted, 1.0, spreads(wanted, alone(), counts=True))
    loss.backward()
    for layer in network.weighted_layers():
        assert layer.weights.grad is not None
        assert layer.weights.grad.device.type == "meta"


def test_the_variance_of_a_batch_is_that_of_all_its_rows() -> None:
    y = torch.randn((12, 3, 4), generator=torch.Generator().manual_seed(2)) + 5
    (found,) = spreads({"y": y, "scores": y[:, 0]}, alone(), counts=True).values()
    assert float(found) == pytest.approx(float(y.var()), rel=1e-5)
