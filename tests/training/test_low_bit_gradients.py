"""Formats of gradients: every code, every tie, no bias where none is promised."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'lowbitc[train]'")

from lowbitc.training import logarithmic  # noqa: E402
from lowbitc.training.arithmetic import Arithmetic, Settings  # noqa: E402
from lowbitc.training.formats import FP8_GRADIENTS  # noqa: E402
from lowbitc.training.geometry import Geometry  # noqa: E402
from lowbitc.training.gradients import GradientFormat  # noqa: E402
from lowbitc.training.logarithmic import round_logarithmic  # noqa: E402
from lowbitc.training.products import multiply  # noqa: E402
from lowbitc.training.radix4 import Phase, decode, encode, round_radix4  # noqa: E402


@pytest.mark.parametrize("phase", list(Phase))
@pytest.mark.parametrize("top", [1.0, 2.0**-20, 64.0])
def test_every_radix4_code_comes_back_but_for_minus_zero(phase: Phase, top: float) -> None:
    codes = torch.tensor([c for c in range(16) if c != 8])
    values = decode(codes, top, phase)
    assert encode(values, top, phase).tolist() == codes.tolist()
    powers = [top * phase.value * 4.0**-k for k in range(6, -1, -1)]
    assert values.tolist() == [0, *powers, *(-p for p in powers)]


def test_radix4_rounds_at_arithmetic_midpoints_and_saturates() -> None:
    up, down = 2.5001, 2.4999
    for k in range(6):
        low, high = 4.0 ** -(k + 1), 4.0**-k
        found = round_radix4(torch.tensor([down * low, up * low, -down * low, -up * low]), 1.0)
        assert found.tolist() == [low, high, -low, -high]
    least = 4.0**-6
    found = round_radix4(torch.tensor([0.6249 * least, 0.6251 * least, 1.0, 100.0, 0.0]), 1.0)
    assert found.tolist() == [0, least, 1, 1, 0]


def test_the_two_phases_together_are_a_finer_grid() -> None:
    x = torch.linspace(0.01, 0.9, 500)
    even, odd = (round_radix4(x, 1.0, phase) for phase in Phase)
    both = (even + odd) / 2
    assert float((both - x).abs().mean()) < 0.7 * float((even - x).abs().mean())


@pytest.mark.parametrize("phase", list(Phase))
@pytest.mark.parametrize("top", [1.0, 2.0**-20, 64.0])
def test_rounding_to_radix4_is_encoding_and_decoding(phase: Phase, top: float) -> None:
    random = torch.Generator().manual_seed(9)
    sizes = torch.exp2(torch.rand(20_000, generator=random) * 30 - 22) * top
    # Ties, and one float32 to either side of them.
    ties = 2.5 * top * phase.value * 4.0 ** -torch.arange(1.0, 8.0)
    around = [torch.nextafter(ties, torch.full_like(ties, e)) for e in (0.0, math.inf)]
    ends = torch.tensor([0.0, 1e-40, 1e30, math.inf])
    x = torch.cat([sizes, ties, *around, ends])
    for values in (x, -x):
        found = round_radix4(values, top, phase)
        assert torch.equal(found, decode(encode(values, top, phase), top, phase))
    assert round_radix4(torch.tensor([math.nan, 1.0]), 1.0).isnan().tolist() == [True, False]


def test_radix4_is_the_nearest_power_for_every_float_near_a_midpoint() -> None:
    levels = [0.0, *(4.0**-k for k in range(6, -1, -1))]
    for low, high in pairwise(levels):
        middle = 2.5 * low if low else 0.625 * high
        x = middle * (
            1 + torch.linspace(-1e-3, 1e-3, 1001, dtype=torch.float64)[torch.arange(1001) != 500]
        )
        wanted = [low if v < middle else high for v in x.tolist()]
        assert round_radix4(x.float(), 1.0).tolist() == wanted


def test_every_logarithmic_code_comes_back_whatever_the_noise() -> None:
    codes = torch.tensor([c for c in range(16) if c != 8])
    alpha = torch.tensor(2.0**-9)
    values = logarithmic.decode(codes, alpha)
    powers = [2.0 ** (k - 9) for k in range(7)]
    assert values.tolist() == [0, *powers, *(-p for p in powers)]
    for noise in (0.0, 0.5, 1 - 2.0**-24):
        held = torch.full(values.shape, noise)
        assert logarithmic.encode(values, alpha, held).tolist() == codes.tolist()
        assert torch.equal(round_logarithmic(values, held), values)


def test_logarithmic_rounding_goes_up_with_the_share_of_the_way() -> None:
    alpha = torch.tensor(1.0)
    for low, high in ((0.0, 1.0), (1.0, 2.0), (4.0, 8.0), (32.0, 64.0)):
        x = torch.tensor([low + 0.25 * (high - low)])
        for noise, wanted in ((0.0, high), (0.2499, high), (0.25, low), (0.9, low)):
            code = logarithmic.encode(-x, alpha, torch.tensor([noise]))
            assert logarithmic.decode(code, alpha).tolist() == [-wanted]


def test_logarithmic_rounding_shows_what_is_not_finite() -> None:
    for odd in (math.inf, math.nan):
        found = round_logarithmic(torch.tensor([1.0, odd]), torch.full((2,), 0.5))
        assert bool(found.isnan().all())
    assert round_logarithmic(torch.zeros(3), torch.zeros(3)).tolist() == [0, 0, 0]


def test_logarithmic_rounding_has_no_bias() -> None:
    x = torch.tensor([1.0, -0.7, 0.3, 0.05, 0.016, 0.004, -0.001, 0.0])
    count = 40_000
    noise = torch.rand((count, len(x)), generator=torch.Generator().manual_seed(3))
    total = round_logarithmic(x.expand(count, -1), noise).double().sum(dim=0)
    spread = torch.sqrt(torch.maximum(x.abs(), torch.tensor(2.0**-6)) * x.abs() / count)
    assert ((total / count - x).abs() <= 5 * spread + 1e-6).all()


def test_logarithmic_levels_are_powers_of_two_below_the_largest() -> None:
    x = torch.as_tensor(np.random.default_rng(4).normal(0, 1, 4000)).float()
    found = round_logarithmic(x, torch.rand(x.shape, generator=torch.Generator().manual_seed(1)))
    steps = (found.abs() / (x.abs().max() / 64)).unique()
    assert set(steps.tolist()) <= {0, 1, 2, 4, 8, 16, 32, 64}
    assert float(steps.max()) == 64


def test_float_gradients_are_left_alone_and_others_take_two_roundings() -> None:
    x, w = torch.randn(5, 3, requires_grad=True), torch.randn(4, 3, requires_grad=True)
    seen, dense = torch.randn(5, 4), Geometry()
    exact = torch.autograd.grad(x @ w.T, (x, w), seen)
    found = torch.autograd.grad(
        multiply(dense, x, w, GradientFormat(Arithmetic.FLOAT)), (x, w), seen
    )
    assert all(torch.equal(a, b) for a, b in zip(exact, found, strict=True))
    y = multiply(dense, x, w, GradientFormat(Arithmetic.FP4))
    assert torch.equal(y, x @ w.T)
    by_x, by_w = torch.autograd.grad(y, (x, w), seen)
    top = 2.0 ** int(torch.frexp(seen.abs().max())[1])
    assert torch.allclose(by_x, round_radix4(seen, top, Phase.EVEN) @ w)
    assert torch.allclose(by_w, round_radix4(seen, top, Phase.ODD).T @ x)


def test_grad_scale_follows_gradients_that_shrink_and_grow() -> None:
    form = GradientFormat(Arithmetic.FP4)
    tops = []
    for size in (1.0, 2.0**-3, 2.0**-3, 2.0**-3, 2.0**-3, 4.0, 4.0, 4.0):
        form.rounded(torch.tensor([size * 0.99]))
        tops.append(int(form.exponent))
    assert tops == [0, -1, -2, -2, -2, -1, 0, 1]


def test_without_gradscale_the_scale_is_fixed_and_without_two_phases_they_are_one() -> None:
    grad = torch.tensor([0.4, 1e-6])
    fixed = GradientFormat(Arithmetic.FP4, Settings(Arithmetic.FP4, scale=8))
    for _ in range(3):
        by_x, by_w, unit = fixed.rounded(grad)
        assert (by_x.tolist(), by_w.tolist(), unit) == ([0.25, 0.0], [0.5, 0.0], 1)
    single = GradientFormat(Arithmetic.FP4, Settings(Arithmetic.FP4, two_phase=False))
    by_x, by_w, _ = single.rounded(grad)
    assert torch.equal(by_x, by_w)


def test_gradscale_waits_out_gradients_that_are_not_finite() -> None:
    form = GradientFormat(Arithmetic.FP4)
    form.rounded(torch.tensor([0.9]))
    for grad in (math.nan, math.inf, 0.0):
        form.rounded(torch.tensor([grad]))
        assert int(form.exponent) == 0


def test_depthwise_layers_of_fp4_read_four_bits_for_inputs_and_eight_for_weights() -> None:
    grad = torch.tensor([0.9, 0.2, 0.011])
    by_x, by_w, unit = GradientFormat(Arithmetic.FP4_FP8).rounded(grad)
    assert torch.equal(by_x * unit, round_radix4(grad, 1.0))
    assert float(((by_w * unit - grad) / grad).abs().max()) < 0.25
    assert torch.equal(FP8_GRADIENTS.round(by_w), by_w)
