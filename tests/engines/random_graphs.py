"""Random small integer graphs on random small meshes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lowbitc.compiler.diagnostics import CompileError
from lowbitc.compiler.elements import I4, I8, ODD1, ODD2, U1, U2, U4, U8
from lowbitc.compiler.ir import quantized as q
from lowbitc.targets.placement.mesh import Memory, Mesh
from lowbitc.targets.placement.place import place
from tests.program.graphs import MESH, Net

if TYPE_CHECKING:
    from collections.abc import Callable

    from lowbitc.compiler.ir.graph import Graph

_LAYERS = 6


def random_graph(seed: int) -> tuple[Graph, Mesh]:
    """Return a graph of a few layers, and a mesh on which its layers are cut if they can be."""
    random = np.random.default_rng(seed)
    shape = (1, int(random.integers(1, 6)), *random.integers(3, 9, 2).tolist())
    net = Net(shape, seed)
    values = [net.quantize()]
    for _ in range(int(random.integers(1, _LAYERS))):
        values.append(_layer(net, values, random))
    last = values[-1]
    if random.random() < 1 / 2:
        last = net.dense(net.flat(last), int(random.integers(1, 6)))
    graph = net.graph(net.dequantize(last))
    side = int(random.integers(2, 5))
    memory = Memory(int(random.integers(150, 1500)), int(random.integers(20, 300)))
    mesh = Mesh(side, side, memory)
    try:
        place(graph, mesh)
    except CompileError:
        return graph, MESH
    return graph, mesh


def _layer(net: Net, values: list[str], random: np.random.Generator) -> str:
    """Add a layer behind one of the values."""
    x = values[int(random.integers(len(values)))]
    frames, channels, high, wide = net.types[x].dims
    small = max(high, wide) < 10
    kinds: dict[str, Callable[[], str]] = {
        "conv": lambda: _conv(net, x, random),
        "depthwise": lambda: net.conv(
            x, channels * int(random.integers(1, 3)), groups=channels, out=U4
        ),
        "add": lambda: net.add(x, net.conv(x, channels, out=I8)),
        "concat": lambda: net.concat(
            x,
            *[v for v in values if net.types[v] == net.types[x]][:2],
            axis=int(random.integers(1, 4)),
        ),
        "table": lambda: net.table(x),
        "turn": lambda: net.moved(
            q.QTranspose, x, (frames, wide, channels, high), perm=(0, 3, 1, 2)
        ),
    }
    if min(high, wide) > 2:
        kinds["pool"] = lambda: net.max_pool(x)
    if small:
        kinds["transposed"] = lambda: net.conv_transpose(x, int(random.integers(1, 5)))
        kinds["resize"] = lambda: net.moved(
            q.QUpsample, x, (frames, channels, high, 2 * wide), factors=(1, 1, 1, 2)
        )
    return kinds[list(kinds)[int(random.integers(len(kinds)))]]()


def _conv(net: Net, x: str, random: np.random.Generator) -> str:
    side = int(random.choice([1, 3]))
    stride, dilation = int(random.integers(1, 3)), int(random.integers(1, 3))
    weights, levels = (I4, ODD1, ODD2), (U1, U2, U4, U8, I8)
    return net.conv(
        x,
        int(random.integers(1, 7)),
        (side, side),
        stride=stride,
        dilation=dilation,
        pad=dilation * (side // 2),
        out=levels[int(random.integers(len(levels)))],
        weight=weights[int(random.integers(len(weights)))],
    )
