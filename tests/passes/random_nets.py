"""Random small networks: layers, norms, pads, pools, residual sums, joins, loose arithmetic."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from hypothesis import strategies as st

from lowbitc.compiler.ir import ops
from tests.passes.graphs import Net

if TYPE_CHECKING:
    from collections.abc import Callable

    from lowbitc.compiler.ir.graph import Graph

    _Step = Callable[[Net, str, st.DrawFn], str]

_LEAST = 3
"""Smallest map that a window may make smaller."""


@st.composite
def networks(draw: st.DrawFn, most_steps: int = 9) -> Graph:
    """Draw a network of one to ``most_steps`` steps, with a head or without, of 1 to 3 outputs."""
    net = Net(1, draw(st.sampled_from([2, 4])), 8, 7, seed=draw(st.integers(0, 1000)))
    values = [net.x]
    for _ in range(draw(st.integers(1, most_steps))):
        step = draw(st.sampled_from(_STEPS))
        source = values[-1] if draw(st.integers(0, 3)) else draw(st.sampled_from(values))
        values.append(step(net, source, draw))
    last = values[-1]
    if draw(st.booleans()):
        last = _head(net, last, draw)
    others = draw(st.lists(st.sampled_from(values[1:]), max_size=2, unique=True))
    return net.graph(*dict.fromkeys([last, *others]))


def _conv(net: Net, x: str, draw: st.DrawFn) -> str:
    channels = net.shape(x)[1]
    groups = draw(st.sampled_from([1, channels]))
    outputs = channels if groups > 1 else draw(st.sampled_from([2, 4]))
    small = min(net.shape(x)[2:]) < _LEAST
    pads = (1, 1, 1, 1) if small else draw(st.sampled_from([(0,) * 4, (1,) * 4, (0, 1, 1, 0)]))
    return net.conv(x, outputs, pads=pads, groups=groups, bias=draw(st.booleans()))


def _batch_norm(net: Net, x: str, draw: st.DrawFn) -> str:
    return net.batch_norm(x, positive=draw(st.booleans()), shift=draw(st.booleans()))


def _clip(net: Net, x: str, draw: st.DrawFn) -> str:
    low, high = draw(st.sampled_from([(0.0, np.inf), (0.0, 6.0), (-1.0, 1.0)]))
    return net.clamp(x, low, high)


def _relu(net: Net, x: str, _draw: st.DrawFn) -> str:
    return net.relu(x)


def _loose(net: Net, x: str, draw: st.DrawFn) -> str:
    operator = draw(st.sampled_from([ops.Mul, ops.Add, ops.Sub, ops.Div]))
    channels = net.shape(x)[1]
    shape = draw(st.sampled_from([(), (1,), (channels, 1, 1), (1, channels, 1, 1)]))
    sign = draw(st.sampled_from([1.0, -1.0]))
    return net.with_constant(operator, x, sign * net.random.uniform(0.5, 2, shape))


def _pad(net: Net, x: str, draw: st.DrawFn) -> str:
    ends = draw(st.lists(st.integers(0, 1), min_size=4, max_size=4))
    value = draw(st.sampled_from([0.0, 0.0, 1.0]))
    return net.pad(x, (0, 0, *ends[:2], 0, 0, *ends[2:]), value)


def _pool(net: Net, x: str, draw: st.DrawFn) -> str:
    if min(net.shape(x)[2:]) < _LEAST:
        return net.relu(x)
    pads = draw(st.sampled_from([0, 1]))
    if draw(st.booleans()):
        return net.pool(ops.MaxPool, x, 2, stride=2, pads=pads)
    return net.pool(ops.AveragePool, x, 2, pads=pads, count_padding=draw(st.booleans()))


def _residual(net: Net, x: str, draw: st.DrawFn) -> str:
    y = net.conv(x, net.shape(x)[1], pads=1)
    if draw(st.booleans()):
        y = net.batch_norm(y)
    return net.add(x, y) if draw(st.booleans()) else net.relu(net.add(y, x))


def _join(net: Net, x: str, draw: st.DrawFn) -> str:
    if net.shape(x)[1] > 8:
        return net.conv(x, 2, 1)
    other = net.batch_norm(x) if draw(st.booleans()) else net.conv(x, 2, 1)
    return net.concat(x, other)


def _identity(net: Net, x: str, draw: st.DrawFn) -> str:
    if draw(st.booleans()):
        return net.same(ops.Identity, x)
    return net.transpose(net.transpose(x, 0, 2, 3, 1), 0, 3, 1, 2)


def _head(net: Net, x: str, draw: st.DrawFn) -> str:
    if draw(st.booleans()):
        x = net.global_average(x)
    size = int(np.prod(net.shape(x)))
    flat = net.node(ops.Flatten, (x,), (1, size), axis=1)
    y = net.matmul(flat, 5) if draw(st.booleans()) else net.dense(flat, 5)
    y = net.with_constant(ops.Add, y, net.normal(5)) if draw(st.booleans()) else y
    return net.batch_norm(y) if draw(st.booleans()) else y


_STEPS: list[_Step] = [
    *(_conv, _conv, _batch_norm, _batch_norm, _relu, _clip, _loose, _pad, _pool, _residual),
    *(_join, _identity),
]
