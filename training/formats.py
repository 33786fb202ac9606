"""Floating-point formats of few bits: a sign, an exponent, a mantissa.

As IEEE's, with subnormals, but without infinities and NaN: every code is a number. What is larger
than the largest, and infinity, becomes the largest. NaN stays NaN when rounded, and has no code.
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
        x = x.clamp(-self.largest, self.largest)
        step = torch.exp2((self._exponent(x) - self.mantissa_bits).to(x.dtype))
        steps = x / step
        if noise is None:
            return torch.round(steps) * step
        below = torch.floor(steps)
        # Compared, not added: a sum with noise would itself be rounded, and move whole numbers.
        return (below + (noise < steps - below)) * step

    def encode(self, x: Tensor) -> Tensor:
        """Return the code of the number nearest to each value.

        Raises ValueError on NaN.
        """
        if bool(torch.isnan(x).any()):
            raise ValueError("NaN has no code: every code of a format is a number")
        rounded = self.round(x)
        size = rounded.abs()
        # frexp gives zeros an exponent of their own.
        exponent = self._exponent(size).masked_fill(size == 0, 1 - self.bias)
        mantissa = (size / torch.exp2((exponent - self.mantissa_bits).to(x.dtype))).long()
        # A normal number's mantissa carries the bit that stands before the point: one exponent.
        code = ((exponent.long() + self.bias - 1) << self.mantissa_bits) + mantissa
        sign = torch.signbit(rounded).long() << (self.mantissa_bits + self.exponent_bits)
        return code + sign

    def decode(self, codes: Tensor) -> Tensor:
        """Return the value of each code: sign, exponent, mantissa, from the highest bit down."""
        mantissa = codes % (1 << self.mantissa_bits)
        exponent = (codes >> self.mantissa_bits) % (1 << self.exponent_bits)
        sign = codes >> (self.mantissa_bits + self.exponent_bits)
        fraction = mantissa.double() * 2.0**-self.mantissa_bits + (exponent > 0)
        power = torch.exp2((exponent.clamp(min=1) - self.bias).double())
        return torch.where(sign > 0, -fraction * power, fraction * power)

    def _exponent(self, x: Tensor) -> Tensor:
        """Return the exponent of each value, at least that of the smallest normal number."""
        _, exponent = torch.frexp(x)
        return (exponent - 1).clamp(min=1 - self.bias)


FP8_FORWARD = FloatFormat(4, 3)
"""Weights and activations of FP8 training (Sun et al., NeurIPS 2019)."""

FP8_GRADIENTS = FloatFormat(5, 2)
"""Gradients of FP8 training (Wang et al., NeurIPS 2018; Sun et al., NeurIPS 2019)."""

FP16 = FloatFormat(6, 9)
"""Sums, master weights, and the first and last layer of FP8 training (Wang et al.)."""
