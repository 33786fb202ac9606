"""Floating-point formats of few bits: all codes, all midpoints."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'lowbitc[train]'")

from lowbitc.training.formats import FP8_GRADIENTS, FloatFormat  # noqa: E402

FORMATS = [FP8_GRADIENTS, FloatFormat(4, 3), FloatFormat(6, 9)]


@pytest.mark.parametrize("form", FORMATS)
def test_every_number_of_a_format_rounds_to_itself(form: FloatFormat) -> None:
    codes = torch.arange(1 << (1 + form.exponent_bits + form.mantissa_bits))
    values = form.decode(codes)
    assert torch.equal(form.round(values), values)
    assert float(values.max()) == form.largest
    # Both zeros are one number; all others differ.
    assert len(values.unique()) == len(codes) - 1


@pytest.mark.parametrize("form", FORMATS)
def test_midpoints_go_to_the_even_code_and_others_to_the_nearest(form: FloatFormat) -> None:
    count = 1 << (form.exponent_bits + form.mantissa_bits)
    values = form.decode(torch.arange(count))
    low, high = values[:-1], values[1:]
    middle = (low + high) / 2
    even = torch.where(torch.arange(count - 1) % 2 == 0, low, high)
    assert torch.equal(form.round(middle), even)
    assert torch.equal(form.round(middle - (high - low) / 8), low)
    assert torch.equal(form.round(-middle - (high - low) / 8), -high)


def test_what_is_too_large_becomes_the_largest() -> None:
    found = FP8_GRADIENTS.round(torch.tensor([1e9, -1e9]))
    assert found.tolist() == [FP8_GRADIENTS.largest, -FP8_GRADIENTS.largest]


def test_rounding_at_random_keeps_the_mean() -> None:
    x = torch.full((20_000,), 1.1)
    found = FP8_GRADIENTS.round(x, torch.rand(x.shape, generator=torch.Generator().manual_seed(2)))
    assert set(found.tolist()) == {1.0, 1.25}
    assert float(found.mean()) == pytest.approx(1.1, abs=0.004)
