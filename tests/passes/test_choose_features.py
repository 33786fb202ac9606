"""Binary features in front of a learning layer are active in a tenth of their places."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lowbitc.compiler.elements import I8, U1, U4
from lowbitc.compiler.execute_levels import LevelSession
from lowbitc.passes.choose_features import ChooseFeatures
from tests.program.graphs import Net

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lowbitc.compiler.elements import Array, LevelType
    from lowbitc.compiler.ir.graph import Graph


def network(features: LevelType = U1, *, pooled: bool = False) -> Graph:
    net = Net((1, 3, 8, 8))
    x = net.conv(net.quantize(), 6, out=features, weight=I8)
    if pooled:
        x = net.max_pool(x)
    return net.graph(net.dequantize(net.dense(net.flat(x), 4)))


def samples() -> Iterator[dict[str, Array]]:
    random = np.random.default_rng(0)
    for _ in range(40):
        yield {"x": random.uniform(0, 5, (1, 3, 8, 8)).astype(np.float32)}


def active_shares(graph: Graph) -> Array:
    """Return, by channel of the features, the share that is active on the samples."""
    value = graph.nodes[-3].inputs[0]
    held = graph.replace(outputs=(value,)).pruned()
    made = LevelSession(held, threads=1).run({"x": np.concatenate([s["x"] for s in samples()])})
    return np.asarray(made[value], np.float64).mean(axis=(0, 2, 3))


def test_a_tenth_of_every_channel_is_active() -> None:
    after = ChooseFeatures(samples).run(network()).graph
    assert np.allclose(active_shares(after), 0.1, atol=0.01)


def test_the_share_is_that_behind_a_pool() -> None:
    after = ChooseFeatures(samples).run(network(pooled=True)).graph
    assert np.allclose(active_shares(after), 0.1, atol=0.02)


def test_thresholds_are_all_that_changes() -> None:
    before = network()
    after = ChooseFeatures(samples).run(before).graph
    changed = [n for n, a in after.constants.items() if not np.array_equal(a, before.constants[n])]
    assert changed == [before.nodes[1].inputs[2]]
    assert after.nodes == before.nodes


def test_channels_that_never_change_are_never_active() -> None:
    before = network()
    weights = before.nodes[1].inputs[1]
    zeros = np.array(before.constants[weights])
    zeros[2] = 0
    dead = before.replace(constants={**before.constants, weights: zeros})
    shares = active_shares(ChooseFeatures(samples).run(dead).graph)
    assert shares[2] == 0
    assert np.delete(shares, 2).min() > 0.05


def test_features_of_more_bits_are_left_alone() -> None:
    before = network(U4)
    result = ChooseFeatures(samples).run(before)
    assert not result.changed
    assert result.graph is before


def test_choosing_twice_is_choosing_once() -> None:
    once = ChooseFeatures(samples).run(network()).graph
    twice = ChooseFeatures(samples).run(once).graph
    assert all(np.array_equal(a, twice.constants[n]) for n, a in once.constants.items())
