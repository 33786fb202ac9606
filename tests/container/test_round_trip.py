"""The same content gives the same bytes, and the bytes give the same content."""

from __future__ import annotations

import hashlib
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from lowbitc.targets.container import (
    Container,
    Section,
    SectionType,
    container_bytes,
    container_digest,
    read_container,
    write_container,
)

_SOURCE = Path(__file__).resolve().parents[2] / "src"

_KEYS = st.tuples(st.integers(2, 6), st.integers(0, 2**32 - 1))
_SECTIONS = st.dictionaries(_KEYS, st.binary(max_size=300), max_size=8)


def test_a_program_that_was_written_reads_back_the_same(program: Container, tmp_path: Path) -> None:
    write_container(tmp_path / "net.lbc", program)
    assert read_container(tmp_path / "net.lbc") == program
    assert read_container(str(tmp_path / "net.lbc")) == program


def test_reading_and_writing_again_gives_the_same_bytes(raw: bytes) -> None:
    assert container_bytes(read_container(raw)) == raw


def test_the_file_holds_what_container_bytes_gives(
    program: Container, raw: bytes, tmp_path: Path
) -> None:
    write_container(tmp_path / "net.lbc", program)
    assert (tmp_path / "net.lbc").read_bytes() == raw


@hypothesis.settings(deadline=None)
@hypothesis.given(_SECTIONS)
def test_the_order_in_which_sections_come_does_not_matter(
    content: dict[tuple[int, int], bytes],
) -> None:
    sections = [Section(kind, number, data) for (kind, number), data in content.items()]
    first = container_bytes(Container({}, tuple(sections)))
    second = container_bytes(Container({}, tuple(reversed(sections))))
    assert first == second
    assert read_container(first) == Container({}, tuple(sections))
    assert {(s.kind, s.number): bytes(s.data) for s in read_container(first).sections} == content


def test_the_order_of_keys_in_the_manifest_does_not_matter() -> None:
    one = Container({"a": 1, "b": {"c": 2, "d": 3}})
    other = Container({"b": {"d": 3, "c": 2}, "a": 1})
    assert container_bytes(one) == container_bytes(other)


def test_another_process_with_another_hash_seed_writes_the_same_bytes() -> None:
    code = (
        "import sys\n"
        "from lowbitc.targets.container import *\n"
        "names = {f'layer{i}' for i in range(50)}\n"
        "sections = {Section(SectionType.NP_IMAGE, i, bytes([i])) for i in range(50)}\n"
        "container = Container({name: {'of': name} for name in names}, tuple(sections))\n"
        "sys.stdout.buffer.write(container_bytes(container))\n"
    )
    outputs = [
        subprocess.run(
            [sys.executable, "-c", code],
            check=True,
            capture_output=True,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(_SOURCE)},
        ).stdout
        for seed in ("1", "2")
    ]
    assert outputs[0] == outputs[1]
    assert len(read_container(outputs[0]).sections) == 50


def test_the_bytes_of_format_1_0_have_not_changed() -> None:
    container = Container(
        {"name": "é", "scale": 0.1, "levels": [-1, 1], "on": True, "off": None},
        (Section(SectionType.NP_IMAGE, 3, b"image"), Section(9, 1, b"later", optional=True)),
    )
    assert (
        container_digest(container)
        == "8f34239b34411e003f1fcd93d603b707e30fb9c78904196199e3dc2c3f2d4dd8"
    )


def test_a_file_built_by_hand_from_the_documentation_is_read() -> None:
    manifest = b'{"bits":2}'
    image = bytes(70)
    table = struct.pack("<IIQQII", 1, 0, 128, len(manifest), zlib.crc32(manifest), 0)
    table += struct.pack("<IIQQII", 2, 4, 192, len(image), zlib.crc32(image), 0)
    head = b"\x89LBC\r\n\x1a\n" + struct.pack("<HHIQI", 1, 0, 2, 320, 0)
    head += struct.pack("<I", zlib.crc32(head + table))
    body = table + manifest + bytes(64 - len(manifest)) + image + bytes(128 - len(image))
    container = read_container(head + hashlib.sha256(head + body).digest() + body)
    assert container == Container({"bits": 2}, (Section(SectionType.NP_IMAGE, 4, image),))


def test_the_digest_is_the_one_in_the_header(program: Container, raw: bytes) -> None:
    assert container_digest(program) == raw[32:64].hex()
    assert container_digest(program) == hashlib.sha256(raw[:32] + raw[64:]).hexdigest()


@pytest.mark.parametrize("size", [1000, 3 << 20], ids=["read", "mapped"])
def test_sections_are_aligned_views_that_outlive_the_reader(tmp_path: Path, size: int) -> None:
    data = np.arange(size, dtype=np.uint8)
    path = tmp_path / "net.lbc"
    write_container(path, Container({}, (Section(SectionType.NP_IMAGE, 0, data.data),)))
    section = read_container(path).sections[0]
    assert isinstance(section.data, memoryview)
    assert section.data.readonly
    assert section.size_bytes == size
    assert np.array_equal(np.frombuffer(section.data, np.uint8), data)
    assert path.read_bytes().index(data[:256].tobytes()) % 64 == 0


def test_data_of_any_shape_is_written_as_its_bytes() -> None:
    matrix = np.array([[0, 1, 2], [3, 4, 5]], "<u2")
    for array in (matrix, np.transpose(matrix), matrix[:0]):
        container = Container({}, (Section(SectionType.TABLES, 0, array.data),))
        (section,) = read_container(container_bytes(container)).sections
        assert bytes(section.data) == array.tobytes()


def test_sections_are_found_by_type_and_number(program: Container) -> None:
    assert [s.name for s in program.of_kind(SectionType.NP_IMAGE)] == ["NP_IMAGE 0", "NP_IMAGE 1"]
    found = program.find(SectionType.CONSTANTS)
    assert found is not None
    assert found.data == b"\x01"
    assert program.find(SectionType.CONSTANTS, 1) is None


@pytest.mark.parametrize(
    "sections",
    [
        (Section(SectionType.TABLES, 1, b"a"), Section(SectionType.TABLES, 1, b"b")),
        (Section(SectionType.MANIFEST, 0, b"{}"),),
        (Section(SectionType.TABLES, -1, b""),),
        (Section(1 << 32, 0, b""),),
    ],
    ids=["same number twice", "manifest as a section", "negative number", "type of 33 bits"],
)
def test_sections_that_no_file_can_hold_are_refused(sections: tuple[Section, ...]) -> None:
    with pytest.raises(ValueError, match=r"two sections|manifest|32 bits"):
        Container({}, sections)
