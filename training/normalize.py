"""Batch norms that live while a network is trained, and are folded where training ends.

A weight of 2 bits that moves to its next level shifts its channel's sums at once. Where batches
norm the sums (Ioffe and Szegedy, arXiv 1502.03167) the layers behind hardly notice, and larger
steps are possible.
"""

# pyright: reportUnknownMemberType=false
# torch leaves some of its own functions half typed.

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Callable

    Total = Callable[[Tensor], Tensor]
    """Returns the sum of a small tensor over all processes."""

_LEAST_VARIANCE = 1e-3
"""Added to the variance of sums of levels, which are integers."""
_LEAST_GAIN = 1e-3
"""The chip's scales are positive: a gain that learns its way through 0 grows again behind it."""
_LEAST_COUNT = 32
"""Sums of a channel in a batch below which their moments say too little."""


class Statistics:
    """Mean and variance of each channel's sums over many batches."""

    def __init__(self, channels: int) -> None:
        """Start without a sum."""
        self.batches = self.count = 0
        self.moments = torch.zeros(2, channels, dtype=torch.float64)

    def add(self, count: int, mean: Tensor, variance: Tensor) -> None:
        """Take in a batch of so many sums a channel."""
        mean, variance = mean.double().cpu(), variance.double().cpu()
        self.batches, self.count = self.batches + 1, self.count + count
        self.moments += count * torch.stack((mean, variance + mean * mean))

    def found(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and variance, in the type and on the device of a tensor."""
        mean, square = self.moments / max(self.count, 1)
        return mean.to(like), (square - mean * mean).clamp(min=0).to(like)


class Normalization(nn.Module):
    """What norms a layer's sums to mean 0 and to a learned spread: ``gain`` · ``spread``.

    While it does not ``live``, it changes nothing.
    """

    spread: Tensor

    def __init__(self, channels: int) -> None:
        """Start asleep."""
        super().__init__()
        self.gain = nn.Parameter(torch.ones(channels), requires_grad=False)
        self.register_buffer("spread", torch.ones(channels))
        self.live, self.counted = False, True
        self.total: Total | None = None
        self.seen: Statistics | None = None

    def forward(self, sums: Tensor, unit: Tensor, bias: Tensor, axis: int) -> tuple[Tensor, Tensor]:
        """Return unit and bias of a layer's output, of sums whose channels lie along an axis."""
        if not self.live and self.seen is None:
            return unit, bias
        total = self.total if self.seen is None else None
        mean, variance = moments(sums, axis, total, counted=self.counted)
        if self.seen is not None:
            self.seen.add(sums.numel() // len(mean), mean, variance)
        return self.affine(mean, variance, bias) if self.live else (unit, bias)

    def affine(self, mean: Tensor, variance: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """Return unit and bias of a layer whose sums have these moments."""
        gain = self.gain.abs().clamp(min=_LEAST_GAIN)
        unit = gain * self.spread / (variance + _LEAST_VARIANCE).sqrt()
        return unit, bias - mean * unit

    def watch(self) -> None:
        """Begin to gather the statistics of sums."""
        self.seen = Statistics(len(self.gain))

    def begin(self, unit: Tensor) -> Tensor | None:
        """Live from now on, if what was seen says enough; return what the bias grows by.

        That is the mean of sums at their unit.
        """
        seen, self.seen = self.seen, None
        if seen is None or seen.count < _LEAST_COUNT * seen.batches:
            self.gain.requires_grad = False
            return None
        mean, variance = seen.found(self.spread)
        self.spread.copy_(unit * (variance + _LEAST_VARIANCE).sqrt())
        self.live = True
        return mean * unit

    def end(self, bias: Tensor) -> tuple[Tensor, Tensor] | None:
        """Sleep from now on; return unit and bias by the statistics that were seen."""
        seen, self.seen = self.seen, None
        if not self.live or seen is None:
            return None
        self.live = False
        return self.affine(*seen.found(self.spread), bias)


def moments(
    sums: Tensor, axis: int, total: Total | None, *, counted: bool
) -> tuple[Tensor, Tensor]:
    """Return mean and variance of each channel over the batch of all processes.

    ``counted`` is whether this process's part is of the batch.
    """
    apply = cast("Callable[..., tuple[Tensor, Tensor]]", _Moments.apply)
    return apply(sums, axis % sums.ndim, total or _own, counted)


def _own(values: Tensor) -> Tensor:
    return values


class _Moments(torch.autograd.Function):
    """Moments whose gradients cost one pass."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - torch types it so
        sums: Tensor,
        axis: int,
        total: Total,
        counted: bool,  # noqa: FBT001 - likewise
    ) -> tuple[Tensor, Tensor]:
        """Add up what all processes have."""
        others = [d for d in range(sums.ndim) if d != axis]
        shape = [-1 if d == axis else 1 for d in range(sums.ndim)]
        own = sums.new_tensor([sums.numel() // sums.shape[axis]]).double()
        parts = torch.cat((own, sums.sum(others).double())) * counted
        count, *_ = found = total(parts)
        mean = (found[1:] / count).to(sums.dtype)
        apart = (sums - mean.reshape(shape)).square_().sum(others)
        variance = (total(apart.double() * counted) / count).to(sums.dtype)
        ctx.save_for_backward(sums, mean, count)
        ctx.rest = (total, counted, shape)
        return mean, variance

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        """Share out the gradients that the moments have in all processes."""
        sums, mean, count = ctx.saved_tensors
        total, counted, shape = ctx.rest
        by_mean, by_variance = (total(torch.stack(grads).double()) * counted / count).to(mean.dtype)
        still = (by_mean - 2 * by_variance * mean).reshape(shape)
        grad = torch.addcmul(still, sums, (2 * by_variance).reshape(shape))
        return grad, None, None, None
