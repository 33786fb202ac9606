"""A graph that is printed and parsed is the same graph."""

from __future__ import annotations

import dataclasses
import string
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lowbitc.compiler.diagnostics import Source
from lowbitc.compiler.elements import I32, ODD2, U4, Alphabet, LevelType, PlainType
from lowbitc.compiler.ir.graph import Graph, Region, Stage, Where
from lowbitc.compiler.ir.quantized import Stage as OutputStage
from lowbitc.compiler.ir.types import UNKNOWN, Clip, OpaqueType, TensorType
from lowbitc.compiler.text import parse_graph, print_graph, same_graph
from lowbitc.compiler.text.fields import attribute_hints, operators

if TYPE_CHECKING:
    from lowbitc.compiler.elements import Array
    from lowbitc.compiler.ir.node import Node

_NAMES = st.one_of(
    st.text(string.ascii_letters + "/.:_0123456789", min_size=1, max_size=8),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6),
    st.sampled_from(['"', "\\", "%", "_", "a b", "a,b", "line\nbreak", "\u2028", "# no comment"]),
)
_FLOATS = st.floats(allow_nan=False)
_LEVELS = st.builds(LevelType, st.sampled_from(Alphabet), st.sampled_from([1, 2, 4, 8, 32]))
_ELEMENTS = st.one_of(
    _LEVELS,
    st.builds(PlainType, st.sampled_from(["float32", "string", "undefined", "U4", "opaque", "#"])),
)
_DIMS = st.lists(st.one_of(st.just(UNKNOWN), st.integers(0, 2000)), max_size=4).map(tuple)
_TENSORS = st.builds(
    TensorType, st.none() | _DIMS, _ELEMENTS, st.lists(_FLOATS, max_size=3).map(tuple)
)
_VALUE_TYPES = st.one_of(_TENSORS, st.builds(OpaqueType, st.binary(max_size=8)))
_SOURCES = st.lists(st.builds(Source, _NAMES, _NAMES), max_size=2).map(tuple)
_BY_HINT: dict[object, st.SearchStrategy[Any]] = {
    int: st.integers(-(2**40), 2**40),
    float: _FLOATS,
    bool: st.booleans(),
    str: st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
    bytes: st.binary(max_size=60),
    OutputStage: st.sampled_from(OutputStage),
    LevelType | None: st.none() | _LEVELS,
    tuple[int, ...]: st.lists(st.integers(-9, 9), max_size=4).map(tuple),
    tuple[str, ...]: st.lists(_NAMES, max_size=2).map(tuple),
}


@st.composite
def _nodes(draw: st.DrawFn, operator: type[Node], name: str, outputs: tuple[str, ...]) -> Node:
    attributes = {k: draw(_BY_HINT[hint]) for k, hint in attribute_hints(operator).items()}
    inputs = tuple(draw(st.lists(st.just("") | _NAMES, max_size=3)))
    return operator(name=name, inputs=inputs, outputs=outputs, sources=draw(_SOURCES), **attributes)


@st.composite
def _arrays(draw: st.DrawFn) -> Array:
    shape = draw(st.lists(st.integers(0, 5), max_size=3))
    size = int(np.prod(shape))
    kind = draw(st.sampled_from(["float32", "float64", "float16", "int8", "int64", "bool", "str"]))
    if kind == "str":
        texts = np.empty(size, object)
        texts[:] = draw(st.lists(_NAMES | st.binary(max_size=3), min_size=size, max_size=size))
        return np.reshape(texts, shape)
    dtype = np.dtype(kind)
    # Any bytes: NaNs with payloads, negative zeros and subnormal numbers among them.
    data = draw(st.binary(min_size=size * dtype.itemsize, max_size=size * dtype.itemsize))
    raw = np.frombuffer(data, np.uint8)
    stored = (raw & 1).astype(np.uint8) if kind == "bool" else raw.copy()
    return np.reshape(stored.view(dtype), shape)


@st.composite
def _graphs(draw: st.DrawFn) -> Graph:
    values = draw(st.lists(_NAMES, min_size=4, max_size=10, unique=True))
    held = draw(st.integers(0, 3))
    constants = {name: draw(_arrays()) for name in values[:held]}
    inputs, made = tuple(values[held : held + 1]), values[held + 1 :]
    choices = sorted(operators().items())
    nodes = tuple(
        draw(_nodes(draw(st.sampled_from(choices))[1], f"n {i}", (value, "")[: 1 + i % 2]))
        for i, value in enumerate(made)
    )
    types = {name: draw(_VALUE_TYPES) for name in values if draw(st.booleans())}
    if draw(st.booleans()):
        types["of nothing"] = draw(_VALUE_TYPES)
    names = [node.name for node in nodes]
    return Graph(
        name=draw(_NAMES),
        inputs=inputs,
        outputs=tuple(draw(st.lists(st.sampled_from(values), max_size=2))),
        nodes=nodes,
        types=types,
        constants=constants,
        opset=draw(st.integers(1, 40)),
        domains=tuple(draw(st.lists(st.tuples(_NAMES, st.integers(1, 9)), max_size=2))),
        stage=draw(st.sampled_from(Stage)),
        clips=draw(
            st.dictionaries(
                _NAMES, st.builds(Clip, _LEVELS, _FLOATS, st.integers(-200, 200)), max_size=2
            )
        ),
        gains=draw(st.dictionaries(_NAMES, st.lists(_FLOATS, max_size=3).map(tuple), max_size=2)),
        host_reasons=draw(st.dictionaries(_NAMES, _NAMES, max_size=2)),
        regions=(Region(Where.HOST, tuple(names)), Region(Where.DEVICE, ())),
    )


@settings(deadline=None, max_examples=150)
@given(_graphs())
def test_any_graph_comes_back_the_same(graph: Graph) -> None:
    text = print_graph(graph)
    parsed = parse_graph(text)
    assert same_graph(parsed, graph)
    assert print_graph(parsed) == text


@pytest.mark.parametrize("name", sorted(operators()))
def test_every_operator_comes_back_the_same(name: str) -> None:
    operator = operators()[name]
    samples: dict[object, Any] = {
        int: 3,
        float: -0.1,
        bool: True,
        str: 'a "b"',
        bytes: b"\x00\xff",
        OutputStage: OutputStage.REQUANTIZE,
        LevelType | None: ODD2,
        tuple[int, ...]: (1, -2),
        tuple[str, ...]: ("%x", "y z"),
    }
    attributes = {k: samples[hint] for k, hint in attribute_hints(operator).items()}
    node = operator(name="n", inputs=("x", "", "w"), outputs=("y",), sources=(), **attributes)
    graph = Graph(name="g", inputs=("x",), outputs=("y",), nodes=(node,))
    assert parse_graph(print_graph(graph)).nodes == (node,)


def test_every_field_of_a_graph_is_printed() -> None:
    """A field that is added to Graph must be added to the text form too."""
    full = Graph(
        name="n",
        inputs=("x",),
        outputs=("y",),
        nodes=(operators()["Relu"](name="r", inputs=("x",), outputs=("y",), sources=()),),
        types={"x": TensorType((1,), U4, (0.5,))},
        constants={"c": np.zeros((), np.float32)},
        opset=13,
        domains=(("d", 1),),
        stage=Stage.PARTITIONED,
        clips={"x": Clip(I32, 0.5)},
        host_reasons={"r": "because"},
        regions=(Region(Where.HOST, ("r",)),),
        gains={"x": (0.5, 2.0)},
        rotated=("x",),
    )
    empty = Graph(name="", inputs=(), outputs=(), nodes=(), opset=1)
    for field in dataclasses.fields(Graph):
        assert getattr(full, field.name) != getattr(empty, field.name), "the sample lacks a field"
    assert same_graph(parse_graph(print_graph(full)), full)
