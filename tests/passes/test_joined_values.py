"""Values that an Add joins are rescaled together, or not at all."""

from __future__ import annotations

import numpy as np
import pytest

from lowbitc.compiler.ir import ops
from lowbitc.passes.joined_values import Joined, find_joined
from tests.quantization.networks import Builder

Names = set[str]


def stream(*, ending: str = "conv") -> tuple[Builder, str, Names]:
    """Return a residual block, the value behind it, and the values that it joins."""
    net = Builder((1, 3, 8, 8))
    first = net.relu(net.conv("x", 4))
    inner = net.conv(net.relu(net.conv(first, 6)), 4)
    after = net.add(inner, first)
    if ending != "linear":
        after = net.relu(after)
    return net, after, {first, inner, after}


def names(joined: Joined) -> Names:
    return {chain.output for chain in joined.chains}


def containing(net: Builder, last: str, value: str) -> list[Joined]:
    return [joined for joined in find_joined(net.graph(last)) if value in names(joined)]


def test_a_residual_stream_is_one_set_with_all_its_writers_and_readers() -> None:
    net, after, values = stream()
    last = net.relu(net.conv(after, 5))
    (joined,) = containing(net, net.dense(net.flat(last), 3), after)
    assert names(joined) == values
    assert [type(chain.compute) for chain in joined.writers] == [ops.Conv, ops.Conv]
    assert sum(len(readers) for readers in joined.readers.values()) == 2
    assert {after in sums for value, sums in joined.sums.items() if value != after} == {True}


def test_a_layer_between_two_others_is_a_set_of_its_own() -> None:
    net, after, _ = stream()
    inner = net.nodes[3].outputs[0]
    (joined,) = containing(net, net.dense(net.flat(after), 3), inner)
    assert names(joined) == {inner}


def test_what_leaves_or_is_read_with_its_sign_or_by_other_nodes_is_not_rescaled() -> None:
    net, after, _ = stream()
    assert not containing(net, after, after)
    net, after, _ = stream(ending="linear")
    assert not containing(net, net.relu(net.conv(after, 5)), after)
    net, after, _ = stream()
    assert not containing(net, net.dense(net.flat(net.silu(after)), 3), after)


def test_one_operand_that_cannot_be_rescaled_holds_all_others() -> None:
    net = Builder((1, 4, 8, 8))
    summed = net.relu(net.add(net.conv("x", 4), "x"))
    assert not containing(net, net.relu(net.conv(summed, 4)), summed)


@pytest.mark.parametrize("channels", [(4, 6)])
def test_a_flattened_value_is_read_once_a_position(channels: tuple[int, int]) -> None:
    net = Builder((1, 3, 4, 4))
    value = net.relu(net.conv("x", channels[0]))
    (joined,) = containing(net, net.dense(net.flat(net.max_pool(value)), channels[1]), value)
    assert [reader.repeat for reader in joined.readers[value]] == [4]
    assert np.prod(net.types[value].dims) == 4 * channels[0] * 4
