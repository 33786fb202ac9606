"""AdaComp: what is sent is what the paper says, comes back from its bytes, and nothing is lost."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'lowbitc[train]'")

from lowbitc.training.adacomp import Bins, Sent  # noqa: E402 - after the check for torch

SHAPES = [(1, 50), (49, 50), (50, 50), (51, 50), (1234, 50), (1234, 500), (70_000, 500), (9, 1)]


def gradients(size: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    random = np.random.default_rng(seed)
    grad, residue = random.normal(0, 1, (2, size)).astype(np.float32) ** 3
    return torch.as_tensor(grad), torch.as_tensor(residue)


def by_definition(
    grad: torch.Tensor, residue: torch.Tensor, length: int
) -> tuple[list[int], list[float], list[float]]:
    """Return places, values and the next residue, entry by entry."""
    whole = (residue + grad).numpy()
    again = (residue + grad + grad).numpy()
    starts = range(0, len(whole), length)
    most = [np.abs(whole[s : s + length]).max() for s in starts]
    scale = float(np.float32(np.mean(np.asarray(most, np.float64))))
    places = [
        i for i in range(len(whole)) if most[i // length] > 0 and abs(again[i]) >= most[i // length]
    ]
    values = [scale * float(np.sign(whole[i])) for i in places]
    left = whole.astype(np.float64)
    left[places] -= values
    return places, values, left.tolist()


@pytest.mark.parametrize(("size", "length"), SHAPES)
def test_what_is_sent_is_what_the_paper_says(size: int, length: int) -> None:
    grad, residue = gradients(size, size)
    places, values, left = by_definition(grad, residue, length)
    sent = Bins(size, length).choose(grad, residue)
    assert sent.places.tolist() == places
    assert np.allclose((sent.signs * sent.scale).tolist(), values, rtol=1e-6)
    assert np.allclose(residue.tolist(), left, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("size", "length"), SHAPES)
def test_what_is_sent_comes_back_from_its_bytes(size: int, length: int) -> None:
    grad, residue = gradients(size, size + 1)
    bins = Bins(size, length)
    before = residue + grad
    sent = bins.choose(grad, residue)
    data = bins.pack(sent)
    found, taken = bins.unpack(torch.cat((data, torch.tensor([255], dtype=torch.uint8))))
    assert taken == len(data)
    assert found.nonzero().reshape(-1).tolist() == sent.places.tolist()
    assert torch.equal(found + residue, before) or torch.allclose(found + residue, before)


def test_a_code_of_a_convolution_is_a_byte_and_one_of_a_dense_layer_eleven_bits() -> None:
    assert Bins(5000, 50).code_bits == 8
    assert Bins(5000, 500).code_bits == 11
    one_a_bin = Sent(torch.arange(25, 5000, 50), torch.ones(100), 0.5)
    assert len(Bins(5000, 50).pack(one_a_bin)) == 2 + 4 + 100


def test_bins_without_gradients_send_nothing_but_that() -> None:
    bins = Bins(120, 50)
    residue = torch.zeros(120)
    grad = torch.zeros(120)
    grad[60] = -2.0
    sent = bins.choose(grad, residue)
    assert sent.places.tolist() == [60]
    found, _ = bins.unpack(bins.pack(sent))
    assert found.nonzero().tolist() == [[60]]
    assert float(found[60]) == pytest.approx(-2 / 3)
    assert float(residue[60]) == pytest.approx(-4 / 3)


def test_what_is_sent_in_many_steps_is_what_there_was() -> None:
    size, steps = 400, 300
    bins, residue = Bins(size, 50), torch.zeros(400)
    wanted, _ = gradients(size, 7)
    total = torch.zeros(size)
    for _ in range(steps):
        total += bins.unpack(bins.pack(bins.choose(wanted, residue)))[0]
    assert torch.allclose(total + residue, wanted * steps, rtol=1e-3, atol=1e-1)
    assert float((total / steps - wanted).abs().max()) < 0.05 * float(wanted.abs().max())
