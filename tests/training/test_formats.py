"""Floating-point formats of few bits: all codes, all midpoints, both ends, and no bias."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from torch import Tensor

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'lowbitc[train]'")

from lowbitc.training.formats import (  # noqa: E402
    FP8_FORWARD,
    FP8_GRADIENTS,
    FP16,
    FloatFormat,
)

FORMATS = [FP8_GRADIENTS, FP8_FORWARD, FP16]


def numbers(form: FloatFormat) -> Tensor:
    """Return every number from 0 up, in float32, which holds them all exactly."""
    return form.decode(torch.arange(1 << (form.exponent_bits + form.mantissa_bits))).float()


@pytest.mark.parametrize("form", FORMATS)
def test_every_code_comes_back_from_its_number(form: FloatFormat) -> None:
    codes = torch.arange(1 << (1 + form.exponent_bits + form.mantissa_bits))
    values = form.decode(codes)
    assert torch.equal(form.round(values), values)
    assert torch.equal(form.encode(values), codes)
    assert torch.equal(form.encode(values.float()), codes)
    # Both zeros are one number; all others differ.
    assert len(values.unique()) == len(codes) - 1
    assert bool((numbers(form).diff() > 0).all())


@pytest.mark.parametrize(
    ("form", "largest", "least_normal", "least"),
    [
        (FP8_FORWARD, 480.0, 2.0**-6, 2.0**-9),
        (FP8_GRADIENTS, 114688.0, 2.0**-14, 2.0**-16),
        (FP16, (2 - 2.0**-9) * 2.0**32, 2.0**-30, 2.0**-39),
    ],
)
def test_the_ends_of_each_format(
    form: FloatFormat, largest: float, least_normal: float, least: float
) -> None:
    held = numbers(form)
    assert float(held[-1]) == form.largest == largest
    assert float(held[1]) == least
    assert float(held[1 << form.mantissa_bits]) == least_normal


@pytest.mark.parametrize("form", FORMATS)
def test_midpoints_go_to_the_even_code_and_others_to_the_nearest(form: FloatFormat) -> None:
    values = numbers(form)
    low, high = values[:-1], values[1:]
    middle = (low + high) / 2
    even = torch.where(torch.arange(len(low)) % 2 == 0, low, high)
    assert torch.equal(form.round(middle), even)
    assert torch.equal(form.round(-middle), -even)
    # One float32 to either side of a tie decides it.
    up, down = (torch.nextafter(middle, torch.full_like(middle, e)) for e in (math.inf, -math.inf))
    assert torch.equal(form.round(up), high)
    assert torch.equal(form.round(down), low)
    assert torch.equal(form.encode(up), torch.arange(1, len(values)))
    assert torch.equal(
        form.encode(-down) & ~(1 << (form.exponent_bits + form.mantissa_bits)),
        torch.arange(len(low)),
    )


@pytest.mark.parametrize("form", FORMATS)
def test_what_is_too_large_becomes_the_largest_and_nan_stays(form: FloatFormat) -> None:
    beyond = torch.tensor([form.largest * 1.5, 3e38, math.inf])
    noise = torch.full_like(beyond, 0.999)
    for x in (beyond, -beyond):
        wanted = [math.copysign(form.largest, float(x[0]))] * 3
        assert form.round(x).tolist() == form.round(x, noise).tolist() == wanted
    assert bool(form.round(torch.tensor([math.nan])).isnan().all())
    with pytest.raises(ValueError, match="NaN has no code"):
        form.encode(torch.tensor([1.0, math.nan]))


@pytest.mark.parametrize("form", FORMATS)
def test_rounding_at_random_keeps_the_mean_everywhere(form: FloatFormat) -> None:
    held = numbers(form)
    # Subnormals, the least normal number, ordinary numbers, the last step below the largest.
    for index in (0, 1, 1 << form.mantissa_bits, len(held) // 2 + 1, len(held) - 2):
        low, high = float(held[index]), float(held[index + 1])
        x = torch.full((20_000,), low + 0.3 * (high - low))
        random = torch.Generator().manual_seed(index)
        found = form.round(x, torch.rand(x.shape, generator=random))
        assert set(found.tolist()) == {low, high}
        share = float((found == high).double().mean())
        # Five standard deviations.
        assert share == pytest.approx(0.3, abs=5 * math.sqrt(0.21 / 20_000))


@pytest.mark.parametrize("form", FORMATS)
def test_rounding_at_random_leaves_numbers_of_the_format_alone(form: FloatFormat) -> None:
    held = numbers(form)
    most = torch.full_like(held, 1 - 2.0**-24)
    for values in (held, -held):
        for noise in (most, torch.zeros_like(held)):
            assert torch.equal(form.round(values, noise), values)
