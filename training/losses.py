"""What training minimises: labels, the float network's outputs, or both."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Mapping

_SCORES = 2
"""Dimensions of scores: samples and classes."""


class Objective(enum.Enum):
    """What a network is trained toward."""

    LABELS = "labels"
    FLOAT = "float"
    BOTH = "both"


def distance(
    found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], temperature: float
) -> Tensor:
    """Return how far outputs are from the float network's, summed over outputs.

    Scores of classes count by Kullback-Leibler divergence at a temperature (Hinton et al. 2015),
    times its square; other values by squared error over the variance of what is wanted.
    """
    parts: list[Tensor] = []
    for name, target in wanted.items():
        y = found[name].reshape(target.shape)
        if target.ndim == _SCORES and target.shape[1] > 1:
            likely = functional.log_softmax(target / temperature, dim=1)
            own = functional.log_softmax(y / temperature, dim=1)
            part = functional.kl_div(own, likely, reduction="batchmean", log_target=True)
            parts.append(part * temperature * temperature)
        else:
            spread = target.var().clamp(min=torch.finfo(target.dtype).tiny)
            parts.append((y - target).square().mean() / spread)
    return torch.stack(parts).sum()
