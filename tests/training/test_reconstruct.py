"""Block reconstruction: a network is cut where one value goes on, and its blocks come closer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from lowbitc.compiler.ir.graph import Graph

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'lowbitc[train]'")

from lowbitc.compiler.bits import parse_bits  # noqa: E402 - after the check for torch
from lowbitc.compiler.diagnostics import CompileError  # noqa: E402
from lowbitc.passes.bin_weights import BinWeights  # noqa: E402
from lowbitc.training.blocks import find_blocks  # noqa: E402
from lowbitc.training.distributed import alone  # noqa: E402
from lowbitc.training.examples import Augmentation, Examples  # noqa: E402
from lowbitc.training.loop import Schedule  # noqa: E402
from lowbitc.training.network import QuantizedNetwork  # noqa: E402
from lowbitc.training.quantizers import WeightMethod  # noqa: E402
from lowbitc.training.reconstruct import Reconstructor  # noqa: E402
from lowbitc.training.straight_through import ClipGradient  # noqa: E402
from tests.quantization.networks import residual_network, samples  # noqa: E402
from tests.training.test_network import branching_network, calibrated  # noqa: E402

BITS = "2/2/2"


def network(graph: Graph) -> QuantizedNetwork:
    bits = parse_bits(BITS)
    rounded = BinWeights(bits).run(graph).graph
    return QuantizedNetwork(rounded, bits, WeightMethod.LSQ, ClipGradient.PACT_PLUS)


@pytest.mark.parametrize("make", [residual_network, branching_network])
def test_blocks_hold_every_step_once_and_hand_on_what_the_next_ones_read(
    make: Callable[[], Graph],
) -> None:
    whole = network(calibrated(make(), BITS))
    blocks = find_blocks(whole)
    assert [i for block in blocks for i in block.steps] == list(range(len(whole.steps)))
    known = set(whole.sources)
    for block in blocks:
        assert known.issuperset(block.entries)
        known.update(block.exits)
    assert set(blocks[-1].exits) == set(whole.results)


def test_a_residual_block_stays_whole_and_the_classifier_is_the_last_block() -> None:
    whole = network(calibrated(residual_network(), BITS))
    held = [[whole.steps[i].nodes[0].op for i in block.steps] for block in find_blocks(whole)]
    assert held == [
        ["Conv"],
        ["Conv", "Conv", "Conv", "Conv", "Add"],
        ["Conv", "GlobalAveragePool", "Reshape"],
        ["Dense"],
    ]


def test_blocks_come_closer_to_the_float_network() -> None:
    graph = calibrated(residual_network(), BITS)
    examples = Examples({"x": np.concatenate([s["x"] for s in samples(16)])}, None)
    schedule = Schedule(batch=8, reconstruct=3)
    run = Reconstructor(network(graph), graph, examples, schedule, alone().device, threads=1)
    steps: list[int] = []
    run.run(steps.append)
    assert steps == list(range(1, 4 * 3 * 2 + 1))
    assert steps[-1] == run.steps
    first, last = (sum(r.loss for r in run.records if r.epoch == e) for e in (0, 2))
    assert last < first


def test_a_block_leaves_alone_what_blocks_before_it_have_settled() -> None:
    graph = calibrated(residual_network(), BITS)
    examples = Examples({"x": np.concatenate([s["x"] for s in samples(8)])}, None)
    whole = network(graph)
    run = Reconstructor(whole, graph, examples, Schedule(reconstruct=1), alone().device, 1)
    owners = [{id(p) for p in run.learned(block)} for block in run.blocks]
    assert all(not a & b for i, a in enumerate(owners) for b in owners[:i])
    layers = {id(p) for layer in whole.layers for p in layer.parameters() if p.requires_grad}
    assert layers <= set().union(*owners)


# --- samples that vary --------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["channels first", "channels last"])
def test_a_flip_mirrors_left_and_right_of_some_images(layout: str) -> None:
    images = np.arange(40 * 3 * 6 * 5, dtype=np.float32).reshape(40, 3, 6, 5)
    mirrored = images[..., ::-1]
    if layout == "channels last":
        images, mirrored = images.transpose(0, 2, 3, 1), mirrored.transpose(0, 2, 3, 1)
    found = Augmentation(flip=True).vary(images, np.arange(40), 0)
    kept = np.array([np.array_equal(a, b) for a, b in zip(found, images, strict=True)])
    turned = np.array([np.array_equal(a, b) for a, b in zip(found, mirrored, strict=True)])
    assert np.array_equal(kept, ~turned)
    assert 10 < kept.sum() < 30


def test_a_shift_moves_images_by_no_more_than_it_says_and_repeats_edges() -> None:
    image = np.zeros((1, 1, 9, 9), np.float32)
    image[0, 0, 4, 4] = 1
    places = set[tuple[int, int]]()
    for epoch in range(60):
        found = Augmentation(shift=2).vary(image, np.arange(1), epoch)
        places.add(tuple(np.argwhere(found[0, 0])[0].tolist()))
    assert {p for pair in places for p in pair} == {2, 3, 4, 5, 6}
    ones = Augmentation(shift=2).vary(np.ones_like(image), np.arange(1), 3)
    assert np.array_equal(ones, np.ones_like(image))


def test_a_sample_varies_the_same_in_whatever_batch_it_is() -> None:
    images = np.random.default_rng(0).normal(size=(6, 1, 5, 5)).astype(np.float32)
    varied = Augmentation(flip=True, shift=1, seed=4)
    whole = varied.vary(images, np.arange(6), 2)
    part = varied.vary(images[[4, 1]], np.array([4, 1]), 2)
    assert np.array_equal(whole[[4, 1]], part)


def test_what_is_no_image_is_not_flipped() -> None:
    with pytest.raises(CompileError) as caught:
        Examples({"x": np.zeros((2, 5), np.float32)}, None, Augmentation(flip=True))
    assert [d.code for d in caught.value.diagnostics] == ["LB798"]
