"""The event engine gives the bits and the counts of the others, from images and routes alone."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lowbitc.compiler.elements import I8, ODD1, ODD2, U1, U2, U8
from lowbitc.compiler.ir import quantized as q
from lowbitc.targets.container import SectionType
from lowbitc.targets.engines.event import EventLaunch
from lowbitc.targets.engines.events import Counts
from lowbitc.targets.engines.registry import ENGINES
from lowbitc.targets.engines.simulator import Simulator
from lowbitc.targets.placement.mesh import Memory, Mesh
from lowbitc.targets.placement.place import place
from lowbitc.targets.program.emit import emit
from lowbitc.targets.program.image import read_image
from lowbitc.targets.program.load import program_of
from tests.engines.random_graphs import random_graph
from tests.program.graphs import MESH, ORIGIN, Net, every_operator, inputs, program

if TYPE_CHECKING:
    from collections.abc import Callable

    from lowbitc.compiler.elements import Array
    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.targets.program import Program

MESHES = {
    "one NP a layer": MESH,
    "channels split": Mesh(4, 4, Memory(400, 400)),
    "columns tiled": Mesh(4, 4, Memory(1000, 40)),
    "passes": Mesh(5, 2, Memory(330, 24)),
}


def agree(held: Program, data: dict[str, Array]) -> Counts:
    """Run a program on every engine; all bits and all counts must be the same."""
    runs: dict[str, tuple[dict[str, Array], Counts]] = {}
    for engine in ENGINES:
        counts = Counts()
        runs[engine] = (Simulator(held, engine, threads=1).run(data, counts=counts), counts)
    wanted, expected = runs["reference"]
    for found, counts in runs.values():
        for name, array in wanted.items():
            assert found[name].dtype == array.dtype
            assert np.array_equal(found[name], array)
        assert counts == expected
    return expected


def run_on(net: Net, output: str, mesh: Mesh = MESH, seed: int = 0) -> Counts:
    graph = net.graph(net.dequantize(output))
    random = np.random.default_rng(seed)
    x = random.uniform(-2, 4, (3, *net.shape[1:])) * (random.random((3, *net.shape[1:])) < 0.6)
    return agree(program(graph, mesh), {"x": x.astype(np.float32)})


@pytest.mark.parametrize("mesh", MESHES.values(), ids=MESHES.keys())
def test_engines_agree_however_layers_are_cut(mesh: Mesh) -> None:
    agree(program(every_operator(), mesh), inputs(5))


KINDS: dict[str, Callable[[Net], str]] = {
    "stride": lambda n: n.conv(n.quantize(), 6, stride=2),
    "dilation": lambda n: n.conv(n.quantize(), 6, dilation=2, pad=2),
    "long kernel": lambda n: n.conv(n.quantize(), 6, kernel=(1, 5), pad=2),
    "groups": lambda n: n.conv(n.quantize(), 8, groups=2),
    "depthwise": lambda n: n.conv(n.quantize(), 4, groups=4, weight=ODD2),
    "depthwise, two outputs a channel": lambda n: n.conv(n.quantize(), 8, groups=4),
    "one bit": lambda n: n.conv(n.quantize(element=U1, scale=1.0), 6, out=U1, weight=ODD1),
    "signed levels": lambda n: n.conv(n.conv(n.quantize(), 6, out=I8), 5, out=U2),
    "a table behind": lambda n: n.conv(n.quantize(), 6, out=U8, middle=I8),
    "transposed": lambda n: n.conv_transpose(n.quantize(), 6),
    "transposed in groups": lambda n: n.conv_transpose(n.quantize(), 6, groups=2),
    "max pool": lambda n: n.max_pool(n.quantize()),
    "max pool of signed levels": lambda n: n.max_pool(n.conv(n.quantize(), 6, out=I8)),
    "average pool": lambda n: n.mean(n.quantize()),
    "average pool of 4, 6 and 9 levels": lambda n: n.border_mean(n.quantize()),
    "add": lambda n: n.add(n.quantize(), n.conv(n.quantize(), 4, out=U8)),
    "add to itself": lambda n: n.add(n.quantize(), n.nodes[-1].outputs[0]),
    "concat": lambda n: n.concat(n.conv(n.quantize(), 5), n.conv(n.quantize(), 3)),
    "concat of rows": lambda n: n.concat(n.quantize(), n.quantize(), axis=2),
    "concat of columns": lambda n: n.concat(n.quantize(), n.quantize(), axis=3),
    "table": lambda n: n.table(n.quantize()),
    "dense": lambda n: n.dense(n.flat(n.quantize()), 7),
}


@pytest.mark.parametrize("memory", [Memory(65536, 65536), Memory(430, 48)], ids=["whole", "cut"])
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
def test_engines_agree_on_every_kind_of_layer(kind: Callable[[Net], str], memory: Memory) -> None:
    net = Net((1, 4, 7, 6))
    counts = run_on(net, kind(net), Mesh(8, 8, memory))
    assert all(c.events for c in counts.layers.values())


def test_engines_agree_on_sequences() -> None:
    net = Net((1, 4, 20))
    run_on(net, net.conv(net.max_pool(net.quantize()), 6, kernel=(3,)))


def test_engines_agree_on_routers() -> None:
    net = Net((1, 4, 6, 6))
    stem = net.conv(net.quantize(), 4)
    large = net.moved(q.QUpsample, stem, (1, 4, 12, 12), factors=(1, 1, 2, 2))
    fields = {"starts": (1,), "ends": (12,), "axes": (2,), "steps": (2,)}
    cut = net.moved(q.QSlice, large, (1, 4, 6, 12), **fields)
    padded = net.moved(q.QPad, cut, (1, 4, 7, 12), pads=(0, 0, 1, 0, 0, 0, 0, 0))
    run_on(net, net.conv(padded, 3), Mesh(4, 4, Memory(512, 64)))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6))
def test_engines_agree_on_random_graphs(seed: int) -> None:
    graph, mesh = random_graph(seed)
    shape = graph.tensor("x").dims[1:]
    x = np.random.default_rng(seed).uniform(-2, 4, (2, *shape)).astype(np.float32)
    agree(program(graph, mesh), {"x": x})


def test_constants_come_from_images_alone() -> None:
    held = program(every_operator(), MESHES["channels split"])
    launch = held.launches[0]
    expected = EventLaunch(held, launch).run(inputs(2))
    zeros = {name: np.zeros_like(array) for name, array in launch.graph.constants.items()}
    blank = dataclasses.replace(launch, graph=launch.graph.replace(constants=zeros))
    found = EventLaunch(held, blank).run(inputs(2))
    assert all(np.array_equal(found[name], array) for name, array in expected.items())


def without_route(graph: Graph, layer: int, mesh: Mesh) -> Program:
    """Return the program with the routes of a layer's first NP taken away."""
    container = emit(graph, place(graph, mesh), ORIGIN)
    sections = list(container.sections)
    for place_, section in enumerate(sections):
        if section.kind == SectionType.NP_IMAGE:
            image = read_image(section.data)
            if image.layer == layer:
                lost = dataclasses.replace(image, routes=())
                sections[place_] = dataclasses.replace(section, data=lost.to_bytes())
                break
    return program_of(dataclasses.replace(container, sections=tuple(sections)))


def test_events_go_where_routes_say_and_nowhere_else() -> None:
    net = Net((1, 3, 6, 6))
    out = net.dequantize(net.conv(net.conv(net.quantize(), 8), 4))
    graph, mesh = net.graph(out), Mesh(4, 4, Memory(400, 400))
    lost = without_route(graph, 0, mesh)
    x = np.full((1, 3, 6, 6), 2, np.float32)
    counts, expected = Counts(), Counts()
    found = Simulator(lost, "event").run({"x": x}, counts=counts)
    wanted = Simulator(program(graph, mesh), "event").run({"x": x}, counts=expected)
    assert not np.array_equal(found[out], wanted[out])
    first = next(p for p in lost.placement.processors if p.layer == net.nodes[1].name)
    missing = expected.of(first.layer).of(first.index).events_out
    readers = expected.of(net.nodes[2].name).processors
    for index, count in counts.of(net.nodes[2].name).processors.items():
        assert count.events_in == readers[index].events_in - missing
