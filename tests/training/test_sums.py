"""Chunked sums: the definition against exact fractions, the extension against the definition."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from torch import Tensor

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'lowbitc[train]'")

from lowbitc.training import sums  # noqa: E402
from lowbitc.training.formats import FP8_FORWARD, FP8_GRADIENTS, FP16  # noqa: E402

needs_extension = pytest.mark.skipif(not sums.available(), reason="the extension was not built")


def rounded(value: Fraction) -> Fraction:
    """Round to 1-6-9 in exact arithmetic: nearest, ties to even."""
    size = abs(value)
    step = Fraction(1, 1 << 39)
    while size / step >= 1024:
        step *= 2
    return min(round(size / step) * step, Fraction(FP16.largest)) * (1 if value > 0 else -1)


def by_fractions(a: Tensor, b: Tensor, chunk: int) -> list[list[float]]:
    """Return the product with one rounding for each addition, and exact numbers between."""
    found: list[list[float]] = []
    for row in a.tolist():
        line: list[float] = []
        for column in b.T.tolist():
            products = [
                rounded(Fraction(x) * Fraction(y)) for x, y in zip(row, column, strict=True)
            ]
            total = Fraction(0)
            for start in range(0, len(products), chunk or len(products)):
                part = Fraction(0)
                for product in products[start : start + (chunk or len(products))]:
                    part = rounded(part + product)
                total = rounded(total + part)
            line.append(float(total))
        found.append(line)
    return found


def operands(case: str, m: int, k: int, n: int) -> tuple[Tensor, Tensor]:
    """Return matrices of numbers that FP8 training multiplies, or that are hard to add."""
    random = torch.Generator().manual_seed(len(case) * 1000 + m * k * n)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=random)

    if case == "fp8":
        return FP8_GRADIENTS.round(normal(m, k) * 3000), FP8_FORWARD.round(normal(k, n))
    if case == "fp16":
        return FP16.round(normal(m, k)), FP16.round(normal(k, n))
    if case == "wide":  # every exponent that 1-6-9 has
        powers = [torch.randint(-39, 33, s, generator=random).float() for s in ((m, k), (k, n))]
        return FP16.round(normal(m, k) * powers[0].exp2()), FP16.round(
            normal(k, n) * powers[1].exp2()
        )
    if case == "small":  # sums among the subnormals, with ties
        return torch.randint(-9, 9, (m, k), generator=random) * 2.0**-21, torch.randint(
            -9, 9, (k, n), generator=random
        ) * 2.0**-19
    if case == "large":  # sums that pass the largest number
        return FP8_GRADIENTS.round(normal(m, k) * 2.0**17), torch.full((k, n), 2.0**14)
    if case == "stuck":  # sums that stop growing
        return torch.ones(m, k), torch.ones(k, n)
    assert case == "any"  # float32 of any size, infinities, NaN
    a, b = normal(m, k) * 2.0**40, normal(k, n) * normal(k, n).exp2() ** 30
    a[0, 0], a[-1, -1], b[0, 0] = math.inf, math.nan, -math.inf
    return a, b


CASES = ["fp8", "fp16", "wide", "small", "large", "stuck", "any"]


@pytest.mark.parametrize("case", CASES[:-1])
@pytest.mark.parametrize("chunk", [0, 1, 5, 64])
def test_the_definition_rounds_every_addition_once(case: str, chunk: int) -> None:
    a, b = operands(case, 2, 70, 2)
    assert sums.define_product(a, b, chunk).tolist() == by_fractions(a, b, chunk)


def test_a_long_sum_stops_growing_unless_it_is_chunked() -> None:
    a, b = operands("stuck", 1, 1500, 1)
    assert float(sums.define_product(a, b, 0)) == 1024
    # 23 sums of 64 and one of 28, whose last bits 1,500 still has.
    assert float(sums.define_product(a, b, 64)) == 1500


@needs_extension
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(
    ("shape", "chunk"),
    [
        ((1, 1, 1), 64),
        ((7, 130, 33), 64),
        ((4, 64, 16), 64),
        ((9, 700, 17), 0),
        ((5, 600, 20), 300),
        ((6, 40, 50), 1),
    ],
)
def test_the_extension_is_the_definition(
    case: str, shape: tuple[int, int, int], chunk: int
) -> None:
    a, b = operands(case, *shape)
    wanted = sums.define_product(a, b, chunk)
    for generic in (False, True):
        found = torch.full_like(wanted, -7.0)
        sums.multiply_arrays(a.numpy(), b.numpy(), found.numpy(), chunk, generic=generic)
        assert torch.equal(found.nan_to_num(123), wanted.nan_to_num(123))
        assert torch.equal(found.isnan(), wanted.isnan())


@needs_extension
def test_the_number_of_threads_changes_nothing() -> None:
    a, b = operands("fp8", 33, 2000, 200)
    found = [torch.empty(33, 200) for _ in range(2)]
    for threads, out in zip((1, 3), found, strict=True):
        sums.multiply_arrays(a.numpy(), b.numpy(), out.numpy(), 64, threads)
    assert torch.equal(*found)


@needs_extension
def test_the_extension_refuses_what_is_no_product() -> None:
    a, b, out = torch.ones(2, 3).numpy(), torch.ones(4, 5).numpy(), torch.ones(2, 5).numpy()
    with pytest.raises(ValueError, match=r"float32 matrices"):
        sums.multiply_arrays(a, b, out, 64)
    with pytest.raises(ValueError, match=r"float32 matrices"):
        sums.multiply_arrays(a, torch.ones(3, 5).double().numpy(), out, 64)


@pytest.mark.parametrize("length", [0, 3])
def test_products_work_without_the_extension_and_of_nothing(
    monkeypatch: pytest.MonkeyPatch, length: int
) -> None:
    a, b = torch.ones(2, length), torch.ones(length, 4)
    wanted = sums.multiply(a, b, 64)
    monkeypatch.setattr(sums, "available", lambda: False)
    assert torch.equal(sums.multiply(a, b, 64), wanted)
    assert torch.equal(wanted, a @ b)
