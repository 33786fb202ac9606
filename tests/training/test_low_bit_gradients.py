"""Formats of gradients: every code, every tie, no bias where none is promised."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'lowbitc[train]'")

from lowbitc.training.arithmetic import Arithmetic, GradientFormat, multiply  # noqa: E402
from lowbitc.training.logarithmic import round_logarithmic  # noqa: E402
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


def test_logarithmic_rounding_has_no_bias() -> None:
    x = torch.tensor([1.0, -0.7, 0.3, 0.05, 0.016, 0.004, -0.001, 0.0])
    random = torch.Generator().manual_seed(3)
    count = 40_000
    total = torch.zeros_like(x)
    for _ in range(count):
        total += round_logarithmic(x, torch.rand(x.shape, generator=random))
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
    seen = torch.randn(5, 4)

    def product(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return a @ b.T

    exact = torch.autograd.grad(product(x, w), (x, w), seen)
    found = torch.autograd.grad(
        multiply(product, x, w, GradientFormat(Arithmetic.FLOAT, 0)), (x, w), seen
    )
    assert all(torch.equal(a, b) for a, b in zip(exact, found, strict=True))
    y = multiply(product, x, w, GradientFormat(Arithmetic.FP4, 0))
    assert torch.equal(y, product(x, w))
    by_x, by_w = torch.autograd.grad(y, (x, w), seen)
    top = 2.0 ** int(torch.frexp(seen.abs().max())[1])
    assert torch.allclose(by_x, round_radix4(seen, top, Phase.EVEN) @ w)
    assert torch.allclose(by_w, round_radix4(seen, top, Phase.ODD).T @ x)


def test_grad_scale_follows_gradients_that_shrink_and_grow() -> None:
    form = GradientFormat(Arithmetic.FP4, 0)
    tops = []
    for size in (1.0, 2.0**-3, 2.0**-3, 2.0**-3, 2.0**-3, 4.0, 4.0, 4.0):
        form.rounded(torch.tensor([size * 0.99]))
        tops.append(int(form.exponent))
    assert tops == [0, -1, -2, -2, -2, -1, 0, 1]
