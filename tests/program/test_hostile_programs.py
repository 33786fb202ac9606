"""Whatever a file says, reading and running it ends in a coded finding or in a result."""

from __future__ import annotations

import copy
from functools import cache
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto

from lowbitc.compiler.diagnostics import CompileError
from lowbitc.targets.container import Container, Section, SectionType, encode_arrays
from lowbitc.targets.engines.simulator import Simulator
from lowbitc.targets.placement.place import place
from lowbitc.targets.program import Program, program_of
from lowbitc.targets.program.emit import emit
from tests.program.graphs import MESH, ORIGIN, every_operator, inputs

if TYPE_CHECKING:
    from collections.abc import Callable

    from lowbitc.compiler.elements import Array

Manifest = dict[str, Any]
_CODES = ("LB60", "LB61", "LB19", "LB72", "LB74")

ODD_VALUES: st.SearchStrategy[object] = st.one_of(
    st.integers(-3, 40),
    st.sampled_from([2**31, 2**32 - 1, 2**63, -(2**63), 0.0, -1.5, 1e300]),
    st.sampled_from([None, True, "", "U4", "I8", "Odd2", "float32", "x", "QConv", "thresholds"]),
    st.lists(st.integers(-2, 9), max_size=5),
    st.builds(dict[str, int]),
)


@cache
def good() -> Container:
    """Return a container with everything in it."""
    graph = every_operator()
    return emit(graph, place(graph, MESH), ORIGIN)


def manifest_of(container: Container) -> Manifest:
    return cast("Manifest", _mutable(container.manifest))


def _mutable(value: object) -> object:
    if isinstance(value, dict):
        members = cast("dict[str, object]", value)
        return {k: _mutable(v) for k, v in members.items()}
    if isinstance(value, list | tuple):
        return [_mutable(v) for v in cast("list[object]", value)]
    return copy.copy(value)


def read_and_run(container: Container) -> Program | None:
    """Read a program and run one sample; None where it was refused with a code."""
    try:
        program = program_of(container)
        Simulator(program, "reference", threads=1).run(inputs(1))
    except CompileError as problem:
        found = problem.diagnostics
    else:
        return program
    assert found
    assert all(d.code.startswith(_CODES) for d in found)
    return None


def places(value: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """List the paths of all members of a JSON value."""
    found = [path] if path else []
    if isinstance(value, dict):
        for key, member in cast("dict[str, object]", value).items():
            found += places(member, (*path, key))
    if isinstance(value, list):
        for index, member in enumerate(cast("list[object]", value)):
            found += places(member, (*path, index))
    return found


@settings(max_examples=250)
@given(st.data())
def test_a_changed_manifest_is_refused_or_runs(data: st.DataObject) -> None:
    manifest = manifest_of(good())
    path = data.draw(st.sampled_from(places(manifest)))
    holder: Any = manifest
    for key in path[:-1]:
        holder = holder[key]
    if data.draw(st.booleans()) and isinstance(holder, dict):
        del holder[path[-1]]
    else:
        holder[path[-1]] = data.draw(ODD_VALUES)
    read_and_run(Container(manifest, good().sections))


@settings(max_examples=250)
@given(st.data())
def test_a_changed_section_is_refused_or_runs(data: st.DataObject) -> None:
    sections = list(good().sections)
    index = data.draw(
        st.sampled_from([i for i, s in enumerate(sections) if s.kind != SectionType.CPU_PIECE])
    )
    content = bytearray(sections[index].data)
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.sampled_from([0, 0, 0, 1, 7]))
    content = content[: len(content) - cut]
    sections[index] = Section(sections[index].kind, sections[index].number, bytes(content))
    read_and_run(Container(good().manifest, tuple(sections)))


@settings(max_examples=50)
@given(st.data())
def test_a_program_without_one_of_its_sections_is_refused(data: st.DataObject) -> None:
    sections = list(good().sections)
    del sections[data.draw(st.integers(0, len(sections) - 1))]
    assert read_and_run(Container(good().manifest, tuple(sections))) is None


def test_the_untouched_program_runs() -> None:
    assert read_and_run(good()) is not None


def refused(container: Container) -> str:
    with pytest.raises(CompileError) as caught:
        program_of(container)
    return caught.value.diagnostics[0].code


def with_model(change: Callable[[ModelProto], None]) -> Container:
    """Return the container with a changed piece for the CPU."""
    sections = list(good().sections)
    for index, section in enumerate(sections):
        if section.kind == SectionType.CPU_PIECE:
            model = ModelProto.FromString(bytes(section.data))
            change(model)
            data = model.SerializeToString()
            sections[index] = Section(section.kind, section.number, data)
    return Container(good().manifest, tuple(sections))


def test_a_piece_that_reads_another_file_is_refused() -> None:
    def outside(model: ModelProto) -> None:
        tensor = model.graph.initializer.add(name="w", data_type=TensorProto.FLOAT, dims=[1])
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="/etc/passwd")

    assert refused(with_model(outside)) == "LB618"


def test_a_piece_with_other_inputs_is_refused() -> None:
    def rename(model: ModelProto) -> None:
        model.graph.input[0].name = "other"

    assert refused(with_model(rename)) == "LB618"


def test_a_node_of_an_unknown_operator_is_refused() -> None:
    manifest = manifest_of(good())
    manifest["steps"][0]["launch"]["nodes"][1]["op"] = "Exec"
    assert refused(Container(manifest, good().sections)) == "LB607"


def test_a_shape_that_contradicts_its_node_is_refused() -> None:
    manifest = manifest_of(good())
    values = manifest["steps"][0]["launch"]["values"]
    next(v for v in values if v["name"] == "QConv1_out")["shape"] = [1, 8, 9, 8]
    assert refused(Container(manifest, good().sections)) == "LB617"


def test_an_output_that_nothing_makes_is_refused() -> None:
    manifest = manifest_of(good())
    manifest["outputs"][0]["name"] = "nowhere"
    assert refused(Container(manifest, good().sections)) == "LB619"


def test_processors_of_a_layer_that_overlap_are_refused() -> None:
    sections = list(good().sections)
    images = [i for i, s in enumerate(sections) if s.kind == SectionType.NP_IMAGE]
    content = bytearray(sections[images[0]].data)
    content[20:24] = (1).to_bytes(4, "little")
    sections[images[0]] = Section(SectionType.NP_IMAGE, 0, bytes(content))
    assert refused(Container(good().manifest, tuple(sections))) == "LB616"


@pytest.mark.parametrize("gains", [np.zeros(8), np.ones((2, 4)), np.ones(8, np.int64)])
def test_gains_that_are_no_positive_numbers_are_refused(gains: Array) -> None:
    whole = good()
    section = Section(SectionType.CONSTANTS, 2, encode_arrays({"x": gains}))
    assert refused(Container(whole.manifest, (*whole.sections, section))) == "LB619"
