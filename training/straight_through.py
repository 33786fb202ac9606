"""Rounding to levels with gradients that pass straight through.

A value v = level · s is multiplied out by its reader, so that the reader's own product gives the
part of dv/ds that the level leaves; what is defined here is the rest, dL/dx and dL/ds.
"""

# pyright: reportUnknownMemberType=false
# torch leaves some of its own functions half typed.

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from lowbitc.compiler.elements import Alphabet

if TYPE_CHECKING:
    from collections.abc import Callable

    from lowbitc.compiler.elements import LevelType
    from lowbitc.training.formats import FloatFormat


class ClipGradient(enum.Enum):
    """What a clip's scale learns from values within the clip.

    Beyond the clip all agree: v = s · bound there, so dv/ds = bound, which for α = s · maximum is
    PACT's dv/dα = 1.
    """

    PACT = "pact"
    """Nothing (PACT, arXiv 1805.06085)."""
    PACT_PLUS = "pact+"
    """The rounding error, level − x/s, as LSQ derives for the scale (arXiv 1902.08153).

    LSQ's factor 1/√(n · maximum) is left out: Adam divides by the gradient's own size.
    """


def round_activations(
    x: Tensor, scale: Tensor, bounds: tuple[int, int], gradient: ClipGradient, *, half_even: bool
) -> Tensor:
    """Return clamp(round(x / scale)) as floats.

    Halves round up, as in output stages, or to even, as at the border to the CPU.
    """
    apply = cast("Callable[..., Tensor]", _ActivationLevels.apply)
    return apply(x, scale, *bounds, gradient, half_even)


def round_weights(rows: Tensor, scales: Tensor, element: LevelType, *, through: bool) -> Tensor:
    """Return the nearest level of each weight of rows [O, K] at scales [O, 1], as floats.

    Inside the alphabet weights learn as if they were not rounded; beyond it they learn too when
    ``through`` is set (SAWB+), else not. Scales learn the rounding error (LSQ). Ties go to even
    in two's complement, up in odd levels, which have no 0.
    """
    odd = element.alphabet is Alphabet.ODD
    bounds = (element.minimum, element.maximum)
    apply = cast("Callable[..., Tensor]", _WeightLevels.apply)
    return apply(rows, scales, *bounds, odd, through)


def round_float(x: Tensor, form: FloatFormat) -> Tensor:
    """Return the nearest numbers of a format; gradients pass as if nothing were rounded."""
    apply = cast("Callable[..., Tensor]", _FloatRounding.apply)
    return apply(x, form)


class _FloatRounding(torch.autograd.Function):
    """Rounding to a floating-point format."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - torch types it so
        x: Tensor,
        form: FloatFormat,
    ) -> Tensor:
        """Round."""
        del ctx
        return form.round(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401
        """Pass the gradient."""
        del ctx
        return grads[0], None


class _ActivationLevels(torch.autograd.Function):
    """Rounding of activations."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - torch types it so
        x: Tensor,
        scale: Tensor,
        minimum: int,
        maximum: int,
        gradient: ClipGradient,
        half_even: bool,  # noqa: FBT001 - likewise
    ) -> Tensor:
        """Round, and keep what the gradient needs."""
        steps = x / scale
        ctx.save_for_backward(steps, scale)
        ctx.bounds = (minimum, maximum)
        ctx.gradient = gradient
        rounded = torch.round(steps) if half_even else torch.floor(steps + 0.5)
        return rounded.clamp(minimum, maximum)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        """Pass gradients inside the clip; give the scale what its kind of gradient says."""
        (grad,) = grads
        steps, scale = ctx.saved_tensors
        minimum, maximum = ctx.bounds
        inside = (steps >= minimum) & (steps <= maximum)
        grad_x = torch.where(inside, grad / scale, torch.zeros_like(grad))
        held = steps
        if ctx.gradient is ClipGradient.PACT:
            # The reader's product gives level · dv: take it back where PACT lets nothing through.
            held = torch.floor(steps + 0.5)
        grad_scale = -(torch.where(inside, grad * held, torch.zeros_like(grad))).sum() / scale
        return grad_x, grad_scale, None, None, None, None


class _WeightLevels(torch.autograd.Function):
    """Rounding of weights."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401
        weights: Tensor,
        scale: Tensor,
        minimum: int,
        maximum: int,
        odd: bool,  # noqa: FBT001
        through: bool,  # noqa: FBT001
    ) -> Tensor:
        """Round, and keep what the gradient needs."""
        steps = weights / scale
        ctx.save_for_backward(steps, scale)
        ctx.bounds = (minimum, maximum)
        ctx.through = through
        rounded = 2 * torch.floor(steps / 2) + 1 if odd else torch.round(steps)
        return rounded.clamp(minimum, maximum)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        """Pass gradients to weights and scales."""
        (grad,) = grads
        steps, scale = ctx.saved_tensors
        minimum, maximum = ctx.bounds
        inside = (steps >= minimum) & (steps <= maximum)
        kept = torch.where(inside, grad, torch.zeros_like(grad))
        grad_weights = (grad if ctx.through else kept) / scale
        grad_scale = -(kept * steps).sum(dim=1, keepdim=True) / scale
        return grad_weights, grad_scale, None, None, None, None
