"""Gradients are those of the papers: PACT's clip, SAWB's weights, LSQ's scale."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'lowbitc[train]'")

from lowbitc.compiler.elements import I2, ODD1, ODD2, ODD4, U2, LevelType  # noqa: E402
from lowbitc.compiler.ir.types import Clip  # noqa: E402
from lowbitc.compiler.statistics.sawb import sawb_scales  # noqa: E402
from lowbitc.training.quantizers import (  # noqa: E402
    ActivationQuantizer,
    WeightMethod,
    WeightQuantizer,
)
from lowbitc.training.straight_through import ClipGradient, round_weights  # noqa: E402

X = [-1.0, 0.1, 0.74, 0.76, 1.4, 2.9, 3.1, 9.0]
"""With α = 3 at 2 bits, one level is 1: below, inside, and beyond the clip."""


def gradients(kind: ClipGradient) -> tuple[list[float], list[float]]:
    """Return dv/dx and dv/dα of each value v = level · scale, α being 3 · scale."""
    by_x, by_alpha = [], []
    for value in X:
        quantizer = ActivationQuantizer(Clip(U2, 1.0), kind)
        x = torch.tensor([value], requires_grad=True)
        (quantizer.levels(x) * quantizer.scale()).sum().backward()
        assert x.grad is not None
        assert quantizer.factor.grad is not None
        by_x.append(float(x.grad))
        by_alpha.append(float(quantizer.factor.grad) / 3)
    return by_x, by_alpha


def test_pact_teaches_its_clip_by_values_beyond_it_alone() -> None:
    by_x, by_alpha = gradients(ClipGradient.PACT)
    assert by_x == [0, 1, 1, 1, 1, 1, 0, 0]
    assert by_alpha == pytest.approx([0, 0, 0, 0, 0, 0, 1, 1], abs=1e-6)


def test_pact_plus_adds_the_rounding_error_inside_the_clip() -> None:
    by_x, by_alpha = gradients(ClipGradient.PACT_PLUS)
    assert by_x == [0, 1, 1, 1, 1, 1, 0, 0]
    inside = [(np.floor(v + 0.5) - v) / 3 for v in X[1:6]]
    assert by_alpha == pytest.approx([0, *inside, 1, 1], abs=1e-6)


def test_halves_round_up_inside_the_chip_and_to_even_at_its_border() -> None:
    quantizer = ActivationQuantizer(Clip(U2, 1.0), ClipGradient.PACT)
    halves = torch.tensor([0.5, 1.5, 2.5])
    assert quantizer.levels(halves).tolist() == [1, 2, 3]
    assert quantizer.levels(halves, half_even=True).tolist() == [0, 2, 2]


@pytest.mark.parametrize("element", [ODD1, ODD2, I2, ODD4])
def test_sawb_scales_are_the_compilers(element: LevelType) -> None:
    rows = np.random.default_rng(2).normal(0, 0.3, (6, 40))
    quantizer = WeightQuantizer(element, np.ones(6), WeightMethod.SAWB)
    found = quantizer.scales(torch.as_tensor(rows)).numpy().reshape(-1)
    assert np.allclose(found, sawb_scales(rows, element), rtol=1e-12)


@pytest.mark.parametrize(("through", "wanted"), [(False, [0, 1, 1, 0]), (True, [1, 1, 1, 1])])
def test_weights_beyond_the_alphabet_learn_only_with_sawb_plus(
    through: bool,  # noqa: FBT001 - a case
    wanted: list[float],
) -> None:
    weights = torch.tensor([[-4.0, -0.2, 2.9, 5.0]], requires_grad=True)
    levels = round_weights(weights, torch.ones(1, 1), ODD2, through=through)
    assert levels.tolist() == [[-3, -1, 3, 3]]
    levels.sum().backward()
    assert weights.grad is not None
    assert weights.grad.tolist() == [wanted]


def test_a_learned_scale_feels_the_rounding_error_of_its_row() -> None:
    rows = torch.tensor([[0.4, -1.2, 0.9, 3.0]])
    scale = torch.ones(1, 1, requires_grad=True)
    (round_weights(rows, scale, I2, through=False) * scale).sum().backward()
    assert scale.grad is not None
    # levels 0, -1, 1, 1: rounding errors inside, the largest level beyond
    assert float(scale.grad) == pytest.approx((0 - 0.4) + (-1 + 1.2) + (1 - 0.9) + 1)
