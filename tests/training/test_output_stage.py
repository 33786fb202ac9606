"""The output stage in one go: its levels and gradients are those of an operator each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'lowbitc[train]'")

from lowbitc.training.output_stage import Stage, round_stage  # noqa: E402
from lowbitc.training.straight_through import ClipGradient, round_activations  # noqa: E402

if TYPE_CHECKING:
    from torch import Tensor

BOUNDS = (0, 3)
KINDS = list(ClipGradient)


def operands(*, ends: bool) -> list[Tensor]:
    """Return two terms with units by channel, a bias, a scale, and ends where they are wanted."""
    random = torch.Generator().manual_seed(3)
    shapes = [(5, 4, 3, 2), (4, 1, 1), (5, 4, 3, 2), (4, 1, 1), (4, 1, 1)]
    found = [torch.randn(shape, generator=random, dtype=torch.float64) for shape in shapes]
    found += [torch.tensor(0.7, dtype=torch.float64)]
    if ends:
        found += [torch.full((4, 1, 1), end, dtype=torch.float64) for end in (0.3, 1.6)]
    return [t.requires_grad_() for t in found]


def by_operators(held: list[Tensor], kind: ClipGradient) -> Tensor:
    x, unit, other, factor, bias, scale, *ends = held
    y = x * unit + other * factor + bias
    if ends:
        y = torch.minimum(torch.maximum(y, ends[0]), ends[1])
    return round_activations(y, scale, BOUNDS, kind, half_even=False)


def in_one_go(held: list[Tensor], kind: ClipGradient) -> Tensor:
    x, unit, other, factor, bias, scale, *ends = held
    stage = Stage(((x, unit), (other, factor)), bias, *ends).over(scale)
    return round_stage(stage, BOUNDS, None if kind is ClipGradient.PACT_PLUS else scale)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ends", [False, True])
def test_levels_and_gradients_are_those_of_an_operator_each(
    kind: ClipGradient,
    ends: bool,  # noqa: FBT001 - a case
) -> None:
    found = []
    for compute in (by_operators, in_one_go):
        held = operands(ends=ends)
        levels = compute(held, kind)
        weights = torch.arange(levels.numel(), dtype=torch.float64).reshape(levels.shape) - 40
        # The reader multiplies by the scale, as a layer behind it does.
        (levels * held[5] * weights).sum().backward()
        found.append((levels, [t.grad for t in held]))
    (levels, grads), (own_levels, own_grads) = found
    assert torch.equal(levels, own_levels)
    for grad, own in zip(grads, own_grads, strict=True):
        assert grad is not None
        assert own is not None
        assert torch.allclose(grad, own, rtol=1e-9, atol=1e-9)


def test_what_needs_no_gradient_gets_none() -> None:
    held = operands(ends=False)
    held[0] = held[0].detach()
    in_one_go(held, ClipGradient.PACT_PLUS).sum().backward()
    assert held[0].grad is None
    assert held[2].grad is not None
