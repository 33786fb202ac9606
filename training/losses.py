"""What training minimises: labels, the float network's outputs, or both."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lowbitc.training.distributed import Team

_SCORES = 2
"""Dimensions of scores: samples and classes."""


class Objective(enum.Enum):
    """What a network is trained toward."""

    LABELS = "labels"
    FLOAT = "float"
    BOTH = "both"


def distance(
    found: Mapping[str, Tensor],
    wanted: Mapping[str, Tensor],
    temperature: float,
    spread: Mapping[str, Tensor],
) -> Tensor:
    """Return how far outputs are from the float network's, summed over outputs.

    Scores of classes count by Kullback-Leibler divergence at a temperature (Hinton et al. 2015),
    times its square; other values by squared error over ``spread``, the variance of what is wanted.
    """
    parts: list[Tensor] = []
    for name, target in wanted.items():
        y = found[name].reshape(target.shape)
        if name not in spread:
            likely = functional.log_softmax(target / temperature, dim=1)
            own = functional.log_softmax(y / temperature, dim=1)
            part = functional.kl_div(own, likely, reduction="batchmean", log_target=True)
            parts.append(part * temperature * temperature)
        else:
            parts.append((y - target).square().mean() / spread[name])
    return torch.stack(parts).sum()


def spreads(wanted: Mapping[str, Tensor], team: Team, *, counts: bool) -> dict[str, Tensor]:
    """Return the variance of each output that holds no scores, over the batch of all processes.

    ``counts`` is whether this process has rows of its own in it.
    """
    values = {
        name: target.double()
        for name, target in wanted.items()
        if target.ndim != _SCORES or target.shape[1] == 1
    }
    if not values:
        return {}
    moments = [
        torch.stack((torch.ones_like(x), x, x * x)).flatten(1).sum(1) for x in values.values()
    ]
    number, total, squares = team.sum(torch.stack(moments) * counts).unbind(1)
    variance = (squares - total * total / number) / (number - 1).clamp(min=1)
    least = torch.finfo(torch.float32).tiny
    return {name: v.clamp(min=least).float() for name, v in zip(values, variance, strict=True)}
