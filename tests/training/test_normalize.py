"""Batches norm sums while a network trains; what is folded in the end gives the same."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'lowbitc[train]'")

from torch import nn  # noqa: E402

from lowbitc.training.normalize import Normalization, moments  # noqa: E402

SHAPES = [(6, 4, 5, 3), (7, 4), (3, 4, 9)]


@pytest.mark.parametrize("shape", SHAPES)
def test_moments_and_their_gradients_are_torchs(shape: tuple[int, ...]) -> None:
    random = torch.Generator().manual_seed(1)
    x = (5 * torch.randn(shape, generator=random, dtype=torch.float64) + 2).requires_grad_()
    others = [d for d in range(x.ndim) if d != 1]
    weights = torch.randn(2, 4, generator=random, dtype=torch.float64)
    found = []
    for mean, variance in (
        moments(x, 1, None, counted=True),
        tuple(reversed(torch.var_mean(x, others, correction=0))),
    ):
        (grad,) = torch.autograd.grad((mean * weights[0] + variance * weights[1]).sum(), x)
        found.append((mean, variance, grad))
    for own, theirs in zip(*found, strict=True):
        assert torch.allclose(own, theirs, rtol=1e-9, atol=1e-12)


def test_the_moments_of_two_processes_are_those_of_the_whole_batch() -> None:
    x = torch.randn(8, 3, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    mean, variance = moments(x, 1, None, counted=True)
    parts = x[:5], x[5:]
    # The other process adds its count and sums, then its squares around the mean.
    other = [
        torch.cat((torch.tensor([12.0], dtype=torch.float64), parts[1].sum((0, 2)))),
        (parts[1] - mean[:, None]).square().sum((0, 2)),
    ]
    found = moments(parts[0], 1, lambda own: own + other.pop(0), counted=True)
    assert torch.allclose(found[0], mean)
    assert torch.allclose(found[1], variance)


def test_a_process_without_rows_of_its_own_does_not_count() -> None:
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(2))
    mean, variance = moments(x, 1, None, counted=True)
    whole = [torch.cat((torch.tensor([4.0]), x.sum(0))).double()]
    whole += [(x - mean).square().sum(0).double()]
    found = moments(torch.ones(1, 3), 1, lambda own: own + whole.pop(0), counted=False)
    assert torch.allclose(found[0], mean)
    assert torch.allclose(found[1], variance)


def test_what_is_folded_gives_what_batch_norm_gives() -> None:
    x = 9 * torch.randn(64, 4, 6, generator=torch.Generator().manual_seed(3)) + 4
    norm = Normalization(4)
    norm.watch()
    unit, bias = torch.full((4,), 0.5), torch.tensor([0.0, 1.0, 2.0, -1.0])
    assert norm(x, unit, bias, 1) == (unit, bias)
    grown = norm.begin(unit)
    assert grown is not None
    bias = bias + grown
    begun = norm(x, unit, bias, 1)
    # It begins without a change of what comes out.
    assert torch.allclose(begun[0], unit, rtol=1e-3)
    with torch.no_grad():
        norm.gain.fill_(1.5)
    unit, offset = norm(x, unit, bias, 1)
    y = x * unit[:, None] + offset[:, None]
    reference = nn.BatchNorm1d(4, eps=1e-3)
    with torch.no_grad():
        reference.weight.copy_(norm.gain * norm.spread)
        reference.bias.copy_(bias)
    assert torch.allclose(y, reference(x), atol=1e-3)
    norm.watch()
    norm(x[:20], unit, bias, 1)
    norm(x[20:], unit, bias, 1)
    folded = norm.end(bias)
    assert folded is not None
    assert torch.allclose(folded[0], unit, rtol=1e-4)
    assert torch.allclose(folded[1], offset, rtol=1e-3, atol=1e-3)
    assert not norm.live


def test_few_sums_in_a_batch_are_not_normed() -> None:
    norm = Normalization(4)
    norm.watch()
    unit, bias = torch.ones(4), torch.zeros(4)
    norm(torch.randn(16, 4), unit, bias, 1)
    assert norm.begin(unit) is None
    assert not norm.live
    assert not norm.gain.requires_grad


def test_a_gain_that_learns_its_way_through_zero_gives_a_positive_scale_and_still_learns() -> None:
    norm = Normalization(4)
    norm.watch()
    unit, bias = torch.ones(4), torch.zeros(4)
    norm(torch.randn(64, 4, generator=torch.Generator().manual_seed(4)), unit, bias, 1)
    assert norm.begin(unit) is not None
    with torch.no_grad():
        norm.gain.copy_(torch.tensor([-0.5, -1e-9, 0.0, 2.0]))
    norm.gain.requires_grad_()
    found, _ = norm.affine(torch.zeros(4), torch.ones(4), bias)
    assert (found > 0).all()
    found.sum().backward()
    assert norm.gain.grad is not None
    assert norm.gain.grad[0] < 0 < norm.gain.grad[3]
