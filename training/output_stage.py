"""The output stage in training: terms are scaled, added and rounded to levels in one go.

That takes fewer passes over memory than an operator each, and keeps no values but the steps.
"""

# pyright: reportUnknownMemberType=false
# torch leaves some of its own functions half typed.

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Stage:
    """What an output stage rounds: x₀·u₀ + x₁·u₁ + … + bias, clipped to ``low`` … ``high``.

    ``terms`` are pairs (x, u). Units, bias and ends broadcast over x; an end that is None bounds
    nothing.
    """

    terms: tuple[tuple[Tensor, Tensor], ...]
    bias: Tensor
    low: Tensor | None = None
    high: Tensor | None = None

    def over(self, scale: Tensor) -> Stage:
        """Return real values in levels of a scale."""
        return Stage(
            tuple((x, unit / scale) for x, unit in self.terms),
            self.bias / scale,
            None if self.low is None else self.low / scale,
            None if self.high is None else self.high / scale,
        )


def round_stage(stage: Stage, bounds: tuple[int, int], pact_scale: Tensor | None) -> Tensor:
    """Return clamp(round(…)) of a stage in levels, as floats; halves round up.

    Gradients pass inside the bounds, to the scale as units and bias hold it: LSQ's rounding error.
    A ``pact_scale`` is the scale where it should learn nothing from there (PACT).
    """
    apply = cast("Callable[..., Tensor]", _StageLevels.apply)
    flat = [t for term in stage.terms for t in term]
    return apply(pact_scale, stage.bias, stage.low, stage.high, *bounds, *flat)


class _StageLevels(torch.autograd.Function):
    """Terms to levels."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - torch types it so
        scale: Tensor | None,
        bias: Tensor,
        low: Tensor | None,
        high: Tensor | None,
        minimum: int,
        maximum: int,
        *terms: Tensor,
    ) -> Tensor:
        """Add, round, and keep what the gradients need."""
        steps = torch.addcmul(bias, terms[0], terms[1])
        for x, unit in zip(terms[2::2], terms[3::2], strict=True):
            steps.addcmul_(x, unit)
        if low is not None or high is not None:
            steps.clamp_(low, high)
        ctx.save_for_backward(steps, scale, bias, low, high, *terms)
        ctx.bounds = (minimum, maximum)
        return (steps + 0.5).floor_().clamp_(minimum, maximum)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        """Pass gradients inside the bounds to every operand."""
        steps, scale, bias, low, high, *terms = ctx.saved_tensors
        # One pass: the gradient where minimum < steps < maximum, else 0.
        kept = torch.ops.aten.hardtanh_backward(grads[0], steps, *ctx.bounds)
        of_scale = None
        if scale is not None:
            # The reader's product gives level · dv: take it back where PACT lets nothing through.
            of_scale = (kept * (steps - torch.floor(steps + 0.5))).sum() / scale
        of_ends: list[Tensor | None] = [None, None]
        for index, (end, beyond) in enumerate(((low, torch.le), (high, torch.ge))):
            if end is not None:
                held = beyond(steps, end)
                of_ends[index] = (kept * held).sum_to_size(end.shape)
                kept = kept.masked_fill_(held, 0)
        found: list[Tensor | None] = []
        for index in range(0, len(terms), 2):
            x, unit = terms[index : index + 2]
            wanted = ctx.needs_input_grad[6 + index]
            found += [kept * unit if wanted else None, (kept * x).sum_to_size(unit.shape)]
        return (of_scale, kept.sum_to_size(bias.shape), *of_ends, None, None, *found)
