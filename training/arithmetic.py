"""In which arithmetic the products of training are computed.

A layer's forward product is the chip's own. Its two backward products, for the gradient of the
inputs and for that of the weights, read the gradient of its sums in a format of few bits.
"""

# pyright: reportUnknownMemberType=false
# torch leaves some of its own functions half typed.

from __future__ import annotations

import enum
import math
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from lowbitc.compiler.ir import ops
from lowbitc.training.formats import FP8_GRADIENTS
from lowbitc.training.logarithmic import round_logarithmic
from lowbitc.training.radix4 import Phase, round_radix4

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lowbitc.compiler.ir.node import Node

    Product = Callable[[Tensor, Tensor], Tensor]
    """Returns a layer's sums of its input and its weights."""


class Arithmetic(enum.Enum):
    """A format of gradients."""

    FLOAT = "float"
    """As they are."""
    FP4 = "fp4"
    """Radix-4 in two phases, with a scale of each layer (GradScale)."""
    LUQ = "luq"
    """Unbiased powers of two."""
    FP8 = "fp8"
    """A sign, 5 exponent and 2 mantissa bits, rounded at random; scaled as FP4 is."""


class GradientFormat(nn.Module):
    """The format of one layer's gradients.

    For FP4 and FP8, the largest power is 2^``exponent``: GradScale raises it by one after a step
    whose gradients passed it, and lowers it by one after a step whose gradients left its upper
    half unused. The first step sets it. Random rounding depends on the seed and the step alone.
    """

    exponent: Tensor
    step: Tensor

    def __init__(
        self, arithmetic: Arithmetic, seed: int, agree: Callable[[float], float] = float
    ) -> None:
        """Make the format; ``seed`` is that of random rounding."""
        super().__init__()
        self.agree = agree
        self.arithmetic = arithmetic
        self.seed = seed
        self.register_buffer("exponent", torch.tensor(_UNSET))
        self.register_buffer("step", torch.tensor(0))

    def rounded(self, grad: Tensor) -> tuple[Tensor, Tensor]:
        """Return a gradient as the inputs' product and as the weights' product read it."""
        if self.arithmetic is Arithmetic.FLOAT:
            return grad, grad
        if self.arithmetic is Arithmetic.LUQ:
            found = round_logarithmic(grad, self._noise(grad))
            return found, found
        top = self._top(self.agree(float(grad.abs().max())))
        if self.arithmetic is Arithmetic.FP8:
            unit = math.ldexp(top, 1 - math.frexp(FP8_GRADIENTS.largest)[1])
            found = FP8_GRADIENTS.round(grad / unit, self._noise(grad)) * unit
            return found, found
        return round_radix4(grad, top, Phase.EVEN), round_radix4(grad, top, Phase.ODD)

    def _noise(self, grad: Tensor) -> Tensor:
        """Return a number in [0, 1) for each value."""
        random = torch.Generator().manual_seed((self.seed << 32) + int(self.step))
        self.step.add_(1)
        return torch.rand(grad.shape, generator=random).to(grad)

    def _top(self, largest: float) -> float:
        """Return the largest power for this step, and adapt it for the next."""
        if largest == 0:
            return 1.0
        needed = int(torch.frexp(torch.tensor(largest))[1])
        if int(self.exponent) == _UNSET:
            self.exponent.fill_(needed)
        now = int(self.exponent)
        self.exponent.add_((needed > now) - (needed < now - 1))
        return 2.0**now


_UNSET = -(1 << 30)


def choose_formats(nodes: Sequence[Node], wanted: Arithmetic) -> tuple[Arithmetic, ...]:
    """Return the format of each weighted node, in the order of running.

    The first and the last stay float; pointwise and depthwise convolutions, which the 4-bit
    training paper keeps at 8 bits, are FP8 where FP4 is wanted.
    """
    chosen = [wanted] * len(nodes)
    for index, node in enumerate(nodes):
        delicate = isinstance(node, ops.Conv) and (node.groups > 1 or max(node.kernel) == 1)
        if delicate and wanted is Arithmetic.FP4:
            chosen[index] = Arithmetic.FP8
    if chosen:
        chosen[0] = chosen[-1] = Arithmetic.FLOAT
    return tuple(chosen)


def multiply(product: Product, x: Tensor, weights: Tensor, form: GradientFormat) -> Tensor:
    """Return ``product(x, weights)``, whose gradients are computed in a format."""
    if form.arithmetic is Arithmetic.FLOAT:
        return product(x, weights)
    apply = cast("Callable[..., Tensor]", _Product.apply)
    return apply(x, weights, product, form)


class _Product(torch.autograd.Function):
    """A product whose two gradients read two roundings of the gradient of its output."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - torch types it so
        x: Tensor,
        weights: Tensor,
        product: Product,
        form: GradientFormat,
    ) -> Tensor:
        """Multiply."""
        ctx.save_for_backward(x, weights)
        ctx.product, ctx.form = product, form
        return product(x, weights)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None]:  # noqa: ANN401
        """Run the product again, and differentiate it once for each operand."""
        x, weights = (held.detach().requires_grad_() for held in ctx.saved_tensors)
        for_x, for_weights = ctx.form.rounded(grads[0])
        with torch.enable_grad():
            y = ctx.product(x, weights)
        grad_x = cast("Tensor", torch.autograd.grad(y, x, for_x, retain_graph=True)[0])
        grad_weights = cast("Tensor", torch.autograd.grad(y, weights, for_weights)[0])
        return grad_x, grad_weights, None, None
