"""Torch networks in arithmetics of few bits: what is converted, what it computes, how it learns."""

from __future__ import annotations

import copy
from typing import cast

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'lowbitc[train]'")

from torch import Tensor, nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from lowbitc.compiler.diagnostics import CompileError  # noqa: E402
from lowbitc.compiler.elements import I4, ODD4, U4, LevelType  # noqa: E402
from lowbitc.training import sums  # noqa: E402
from lowbitc.training.arithmetic import Arithmetic, Settings, round_updates  # noqa: E402
from lowbitc.training.convert import convert  # noqa: E402
from lowbitc.training.formats import FP8_FORWARD, FP8_GRADIENTS, FP16  # noqa: E402
from lowbitc.training.geometry import Geometry  # noqa: E402
from lowbitc.training.modules import FloatOperands, LevelOperands, LowBitLayer  # noqa: E402


def small() -> nn.Sequential:
    """Return a network with a layer of every kind, the same each time."""
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False),
        nn.Conv2d(8, 12, 1),
        nn.BatchNorm2d(12),
        nn.ReLU(),
        nn.Conv2d(12, 12, 3, stride=2, padding=1),
        nn.Flatten(),
        nn.Linear(12 * 16, 4),
    )


def images(count: int = 32) -> tuple[Tensor, Tensor]:
    """Return images in which the brightest quarter is the class."""
    random = torch.Generator().manual_seed(5)
    labels = torch.randint(4, (count,), generator=random)
    x = torch.rand(count, 1, 8, 8, generator=random)
    for image, label in zip(x, labels.tolist(), strict=True):
        row, column = divmod(label, 2)
        image[0, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4] += 0.7
    return x, labels


def formats(network: nn.Module) -> list[Arithmetic | None]:
    """Return the arithmetic of each layer, None where it is torch's own."""
    held: list[Arithmetic | None] = []
    for module in cast("nn.Sequential", network):
        if isinstance(module, LowBitLayer):
            held.append(cast("LevelOperands | FloatOperands", module.operands).gradients.arithmetic)
        elif isinstance(module, (nn.Conv2d, nn.Linear)):
            held.append(None)
    return held


@pytest.mark.parametrize(
    ("arithmetic", "wanted"),
    [
        (Arithmetic.FP4, [None, Arithmetic.FP4_FP8, Arithmetic.FP8, Arithmetic.FP4, None]),
        (Arithmetic.LUQ, [None, Arithmetic.LUQ, Arithmetic.LUQ, Arithmetic.LUQ, None]),
        (
            Arithmetic.FP8,
            [Arithmetic.FP16, *(Arithmetic.FP8,) * 3, Arithmetic.FP16],
        ),
    ],
)
def test_each_layer_gets_the_format_of_its_kind(
    arithmetic: Arithmetic, wanted: list[Arithmetic | None]
) -> None:
    network = small()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    assert convert(network, Settings(arithmetic), images()[0]) is network
    assert formats(network) == wanted
    # Weights keep their names and values, and watching a sample moved no statistics.
    held = network.state_dict()
    assert all(torch.equal(held[name], value) for name, value in before.items())


def test_clips_start_at_what_a_sample_shows_and_know_its_sign() -> None:
    network = nn.Sequential(*(nn.Linear(6, 6) for _ in range(3)), nn.ReLU())
    network.extend([nn.Linear(6, 6), nn.Linear(6, 2)])
    x = torch.randn(50, 6, generator=torch.Generator().manual_seed(6))
    with torch.no_grad():
        inner = network[:2](x), network[:4](x)
    convert(network, Settings(Arithmetic.LUQ), x)
    for number, held, levels in ((2, inner[0], I4), (4, inner[1], U4)):
        operands = cast("LowBitLayer", network[number]).operands
        assert isinstance(operands, LevelOperands)
        assert operands.inputs.element == levels
        largest = float(held.abs().max())
        assert 0.3 * largest < operands.inputs.clip_scale() * levels.maximum <= 1.1 * largest


@pytest.mark.parametrize("weights", [I4, ODD4])
def test_four_bit_layers_multiply_levels(weights: LevelType) -> None:
    settings = Settings(Arithmetic.FP4, weights=weights)
    network = cast("nn.Sequential", convert(small(), settings, images()[0]))
    layer = cast("LowBitLayer", network[7])
    operands = cast("LevelOperands", layer.operands)
    x = torch.rand(2, 12, 8, 8, generator=torch.Generator().manual_seed(1)) * 3
    levels, step = operands.weights.levels(layer.weight.reshape(1, -1))
    inputs = operands.inputs.levels(x)
    assert set(levels.flatten().tolist()) <= set(weights.levels().tolist())
    assert set(inputs.flatten().tolist()) <= set(range(16))
    scale = operands.inputs.scale() * step
    sums_of_levels = functional.conv2d(inputs, levels.view_as(layer.weight), None, 2, 1)
    assert torch.equal(sums_of_levels, sums_of_levels.round())
    assert layer.bias is not None
    assert torch.allclose(layer(x), sums_of_levels * scale + layer.bias.reshape(-1, 1, 1))


@pytest.mark.parametrize("chunk", [0, 4, 64])
def test_fp8_layers_compute_all_three_products_by_definition(chunk: int) -> None:
    settings = Settings(Arithmetic.FP8, chunk=chunk)
    layer = LowBitLayer(nn.Linear(40, 6, bias=False), settings)
    x = torch.randn(70, 40, generator=torch.Generator().manual_seed(2)).requires_grad_()
    x8, w8 = FP8_FORWARD.round(x.detach()), FP8_FORWARD.round(layer.weight.detach())
    y = layer(x)
    assert torch.equal(y, sums.define_product(w8, x8.T, chunk).T)
    seen = torch.randn(70, 6, generator=torch.Generator().manual_seed(4)) * 1e-4
    by_x, by_w = torch.autograd.grad(y, (x, layer.weight), seen)
    # GradScale puts the largest gradient below 2^17; noise is that of the first step of layer 0.
    unit = 2.0 ** (int(torch.frexp(seen.abs().max())[1]) - 16)
    noise = torch.rand(seen.shape, generator=torch.Generator().manual_seed(0))
    grad = FP8_GRADIENTS.round(seen / unit, noise)
    assert torch.equal(by_x, sums.define_product(w8.T, grad.T, chunk).T * unit)
    assert torch.equal(by_w, sums.define_product(x8.T, grad, chunk).T * unit)


def test_the_first_and_last_layer_of_fp8_are_fp16() -> None:
    network = cast("nn.Sequential", convert(small(), Settings(Arithmetic.FP8), images()[0]))
    layer = cast("LowBitLayer", network[0])
    x = images(3)[0]
    wanted = Geometry((3, 3), (1, 1), (1, 1), (1, 1, 1, 1)).sums(
        FP16.round(x),
        FP16.round(layer.weight.detach()),
        lambda a, b: sums.define_product(a, b, 64),
    )
    assert layer.bias is not None
    assert torch.equal(layer(x), wanted + layer.bias.reshape(-1, 1, 1))


def test_weight_updates_are_fp16_and_keep_small_steps_on_average() -> None:
    weight = torch.full((20_000,), 1.0)
    step = 2.0**-13  # a sixteenth of the last bit of 1.0
    for number in range(16):
        weight += step
        round_updates([weight], 7, number)
        assert torch.equal(weight, FP16.round(weight))
    assert float(weight.mean()) == pytest.approx(1 + 16 * step, abs=2e-4)
    again = torch.full((20_000,), 1.0) + step
    other = again.clone()
    round_updates([again], 7, 0)
    round_updates([other], 7, 1)
    assert not torch.equal(again, other)


@pytest.mark.parametrize("arithmetic", [Arithmetic.FP8, Arithmetic.FP4, Arithmetic.LUQ])
def test_a_network_learns_from_scratch_and_again_the_same(arithmetic: Arithmetic) -> None:
    x, labels = images(32)

    def train() -> tuple[list[float], nn.Module]:
        settings = Settings(arithmetic, seed=1)
        network = convert(small(), settings, x)
        optimizer = torch.optim.SGD(network.parameters(), 0.05, 0.9)
        losses: list[float] = []
        for step in range(8):
            loss = functional.cross_entropy(network(x), labels)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            if arithmetic is Arithmetic.FP8:
                round_updates(network.parameters(), settings.seed, step)
            losses.append(float(loss.detach()))
        return losses, network

    losses, network = train()
    assert losses[-1] < losses[0] / 2
    again, other = train()
    assert losses == again
    # What is needed to go on is in the state.
    fresh = convert(small(), Settings(arithmetic, seed=1), x)
    fresh.load_state_dict(network.state_dict())
    assert torch.equal(fresh(x), copy.deepcopy(other)(x))


def test_a_network_without_layers_is_refused() -> None:
    with pytest.raises(CompileError) as caught:
        convert(nn.Sequential(nn.ReLU()), Settings(Arithmetic.FP4), torch.ones(1, 2))
    (finding,) = caught.value.diagnostics
    assert (finding.code, finding.found) == (
        "LB793",
        "no layer with weights runs in Sequential",
    )
