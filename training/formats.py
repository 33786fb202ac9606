"""Floating-point formats of few bits: a sign, an exponent, a mantissa.

As IEEE's, with subnormals, but without infinities and NaN: every code is a number, and what is
larger than the largest becomes it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class FloatFormat:
    """A format; value = ±1.mantissa · 2^(exponent − bias), subnormal where the exponent is 0."""

    exponent_bits: int
    mantissa_bits: int

    @property
    def bias(self) -> int:
        """What is taken off the exponent, as in IEEE 754."""
        return (1 << (self.exponent_bits - 1)) - 1

    @property
    def largest(self) -> float:
        """The largest number."""
        top = (1 << self.exponent_bits) - 1 - self.bias
        return (2.0 - 2.0**-self.mantissa_bits) * 2.0**top

    def round(self, x: Tensor, noise: Tensor | None = None) -> Tensor:
        """Round to the nearest number, ties to even; with noise in [0, 1), at random.

        Random rounding has its mean at the value itself, up to the largest number.
        """
        _, exponent = torch.frexp(x)
        lowest = 1 - self.bias
        step = torch.exp2(((exponent - 1).clamp(min=lowest) - self.mantissa_bits).to(x.dtype))
        steps = x / step
        whole = torch.round(steps) if noise is None else torch.floor(steps + noise)
        return (whole * step).clamp(-self.largest, self.largest)

    def decode(self, codes: Tensor) -> Tensor:
        """Return the value of each code: sign, exponent, mantissa, from the highest bit down."""
        mantissa = codes % (1 << self.mantissa_bits)
        exponent = (codes >> self.mantissa_bits) % (1 << self.exponent_bits)
        sign = codes >> (self.mantissa_bits + self.exponent_bits)
        fraction = mantissa.double() * 2.0**-self.mantissa_bits + (exponent > 0)
        power = torch.exp2((exponent.clamp(min=1) - self.bias).double())
        return torch.where(sign > 0, -fraction * power, fraction * power)


FP8_GRADIENTS = FloatFormat(5, 2)
"""Gradients of FP8 training (Wang et al., NeurIPS 2018; Sun et al., NeurIPS 2019)."""
