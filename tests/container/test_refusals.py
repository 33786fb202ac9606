"""Every way in which a file is not a whole program has its own message."""

from __future__ import annotations

import struct
import tracemalloc
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from lowbitc.compiler.diagnostics import CompileError, Diagnostic
from lowbitc.targets.container import Container, Section, container_bytes, read_container

if TYPE_CHECKING:
    from pathlib import Path

Refuse = Callable[[bytes], tuple[Diagnostic, ...]]
Reseal = Callable[[bytes], bytes]

_HEADER, _ENTRY = 64, 32


def _entries(raw: bytes) -> list[tuple[int, ...]]:
    (count,) = struct.unpack_from("<I", raw, 12)
    return list(struct.iter_unpack("<IIQQII", raw[_HEADER : _HEADER + _ENTRY * count]))


def _put(raw: bytes, form: str, offset: int, *values: int) -> bytes:
    changed = bytearray(raw)
    struct.pack_into(form, changed, offset, *values)
    return bytes(changed)


def _flip(raw: bytes, offset: int, bit: int = 0) -> bytes:
    return _put(raw, "<B", offset, raw[offset] ^ 1 << bit)


def _codes(findings: tuple[Diagnostic, ...]) -> list[str]:
    return [f.code for f in findings]


def test_a_file_cut_anywhere_in_its_header_is_cut_short(raw: bytes, refuse: Refuse) -> None:
    for size in range(_HEADER):
        (finding,) = refuse(raw[:size])
        assert finding.code == "LB602"
        assert finding.found == f"{size} bytes"


def test_a_file_cut_at_any_section_says_how_much_is_there_and_how_much_should_be(
    raw: bytes, refuse: Refuse
) -> None:
    entries = _entries(raw)
    table = range(_HEADER, _HEADER + _ENTRY * len(entries) + 1, _ENTRY)
    starts = [e[2] for e in entries]
    ends = [e[2] + e[3] for e in entries]
    for size in {*table, *starts, *ends, len(raw) - 1}:
        (finding,) = refuse(raw[:size])
        assert finding.code == "LB602"
        assert finding.found == f"{size} bytes"
        assert finding.allowed == f"{len(raw)} bytes"


def test_a_flipped_bit_in_a_section_names_that_section(
    raw: bytes, refuse: Refuse, program: Container
) -> None:
    names = ["MANIFEST 0", *(s.name for s in program.sections)]
    for (_, _, offset, length, _, _), name in zip(_entries(raw), names, strict=True):
        for at in {offset, offset + length // 2, offset + length - 1} if length else ():
            (finding,) = refuse(_flip(raw, at, 3))
            assert finding.code == "LB603"
            assert f"section {name} " in finding.message


def test_all_damaged_sections_are_named_at_once(raw: bytes, refuse: Refuse) -> None:
    entries = _entries(raw)
    findings = refuse(_flip(_flip(raw, entries[1][2]), entries[2][2]))
    assert _codes(findings) == ["LB603", "LB603"]
    assert "NP_IMAGE 0" in findings[0].message
    assert "NP_IMAGE 1" in findings[1].message


def test_a_flipped_bit_anywhere_in_the_header_or_table_is_refused(
    raw: bytes, refuse: Refuse
) -> None:
    for at in range(_HEADER + _ENTRY * len(_entries(raw))):
        codes = _codes(refuse(_flip(raw, at, at % 8)))
        if at < 8:
            assert codes == ["LB601"]
        elif at < 10:
            assert codes == ["LB605"]
        elif 12 <= at < 24:
            assert codes in (["LB604"], ["LB602"], ["LB609"])
        elif 32 <= at < 64:
            assert codes == ["LB612"]
        else:
            assert codes == ["LB609"]


def test_a_flipped_bit_in_any_padding_is_refused(raw: bytes, refuse: Refuse) -> None:
    entries = _entries(raw)
    used = set(range(_HEADER + _ENTRY * len(entries)))
    for _, _, offset, length, _, _ in entries:
        used |= set(range(offset, offset + length))
    padding = sorted(set(range(len(raw))) - used)
    assert len(padding) > 200
    for at in padding:
        assert _codes(refuse(_flip(raw, at, 7))) == ["LB611"]


def test_padding_that_was_forged_with_its_digest_is_still_refused(
    raw: bytes, refuse: Refuse, reseal: Reseal
) -> None:
    assert _codes(refuse(reseal(_flip(raw, len(raw) - 1)))) == ["LB611"]


def test_a_section_changed_with_its_crc_only_fails_the_digest(
    raw: bytes, refuse: Refuse, reseal: Reseal
) -> None:
    forged = reseal(_flip(raw, _entries(raw)[1][2]))
    assert _codes(refuse(forged[:32] + raw[32:64] + forged[64:])) == ["LB612"]


@pytest.mark.parametrize("length", [1 << 63, 1 << 40, (1 << 64) - 1])
@pytest.mark.parametrize("field", ["file", "section", "last section", "offset"])
def test_an_absurd_length_is_refused_before_memory_is_asked_for(
    raw: bytes, refuse: Refuse, reseal: Reseal, field: str, length: int
) -> None:
    last = _HEADER + _ENTRY * (len(_entries(raw)) - 1)
    at = {"file": 16, "section": _HEADER + 16, "last section": last + 16, "offset": _HEADER + 8}
    changed = reseal(_put(raw, "<Q", at[field], length))
    tracemalloc.start()
    try:
        findings = refuse(changed)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert set(_codes(findings)) == {"LB610" if field == "offset" else "LB604"}
    assert peak < 1 << 18


@pytest.mark.parametrize("count", [1 << 12, 1 << 17, (1 << 32) - 1])
def test_an_absurd_number_of_sections_is_refused_before_memory_is_asked_for(
    raw: bytes, refuse: Refuse, count: int
) -> None:
    tracemalloc.start()
    try:
        findings = refuse(_put(raw, "<I", 12, count))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert _codes(findings) == ["LB604"]
    assert peak < 1 << 18


def test_more_sections_than_a_program_may_have_are_refused(raw: bytes, refuse: Refuse) -> None:
    (finding,) = refuse(_put(_put(raw, "<Q", 16, 1 << 30), "<I", 12, (1 << 16) + 1))
    assert finding.code == "LB604"
    assert "65537 sections" in finding.found


@pytest.mark.parametrize("major", [0, 2, 65535])
def test_another_major_version_asks_for_an_update(
    raw: bytes, refuse: Refuse, reseal: Reseal, major: int
) -> None:
    (finding,) = refuse(reseal(_put(raw, "<H", 8, major)))
    assert finding.code == "LB605"
    assert finding.found == f"format {major}.0"
    assert "update lowbitc" in finding.hint


def test_a_newer_minor_version_is_read_and_kept(raw: bytes, reseal: Reseal) -> None:
    newer = reseal(_put(raw, "<H", 10, 7))
    container = read_container(newer)
    assert container.minor == 7
    assert container_bytes(container) == newer


def test_an_unknown_optional_section_is_kept(raw: bytes) -> None:
    last = read_container(raw).sections[-1]
    assert last == Section(77, 5, b"of a later format", optional=True)


def test_every_unknown_required_section_is_refused_by_its_number(refuse: Refuse) -> None:
    sections = (Section(7, 0, b"a"), Section(8, 1, b"b"), Section(9, 0, b"c", optional=True))
    findings = refuse(container_bytes(Container({}, sections)))
    assert _codes(findings) == ["LB606", "LB606"]
    assert "type 7 section 0" in findings[0].message
    assert "type 8 section 1" in findings[1].message
    assert "update lowbitc" in findings[0].hint


def test_trailing_bytes_are_refused(raw: bytes, refuse: Refuse) -> None:
    (finding,) = refuse(raw + b"\0")
    assert finding.code == "LB608"
    assert finding.found == f"{len(raw) + 1} bytes"


def test_two_manifests_are_refused(raw: bytes, refuse: Refuse, reseal: Reseal) -> None:
    same_number = reseal(_put(raw, "<II", _HEADER + _ENTRY, 1, 0))
    assert _codes(refuse(same_number)) == ["LB610"]
    next_number = reseal(_put(raw, "<II", _HEADER + _ENTRY, 1, 1))
    (finding,) = refuse(next_number)
    assert finding.code == "LB607"
    assert finding.found == "number 0 with flags 0, number 1 with flags 0"


def test_a_missing_or_optional_manifest_is_refused(
    raw: bytes, refuse: Refuse, reseal: Reseal
) -> None:
    (missing,) = refuse(reseal(_put(raw, "<I", 12, 0)[:16] + _empty_file_rest()))
    assert (missing.code, missing.found) == ("LB607", "none")
    assert _codes(refuse(reseal(_put(raw, "<I", _HEADER + 28, 1)))) == ["LB607"]


def _empty_file_rest() -> bytes:
    return struct.pack("<QII", _HEADER, 0, 0) + bytes(32)


def test_unsorted_sections_are_refused_by_name(raw: bytes, refuse: Refuse, reseal: Reseal) -> None:
    at = _HEADER + _ENTRY
    (finding,) = refuse(reseal(_put(raw, "<II", at, 2, 2)))
    assert finding.code == "LB610"
    assert "NP_IMAGE 1 is out of order" in finding.message


@pytest.mark.parametrize("shift", [-64, -1, 1, 64], ids=["overlap", "odd", "misaligned", "gap"])
def test_a_section_that_is_not_where_lengths_put_it_is_refused(
    raw: bytes, refuse: Refuse, reseal: Reseal, shift: int
) -> None:
    at = _HEADER + 2 * _ENTRY + 8
    (offset,) = struct.unpack_from("<Q", raw, at)
    (finding,) = refuse(reseal(_put(raw, "<Q", at, offset + shift)))
    assert finding.code == "LB610"
    assert "NP_IMAGE 1 is misplaced" in finding.message
    assert f"offset {offset}," in finding.allowed


def test_a_file_longer_than_its_sections_is_refused(
    raw: bytes, refuse: Refuse, reseal: Reseal
) -> None:
    longer = reseal(_put(raw, "<Q", 16, len(raw) + 64) + bytes(64))
    assert _codes(refuse(longer)) == ["LB610"]


def test_reserved_bits_are_refused(raw: bytes, refuse: Refuse, reseal: Reseal) -> None:
    assert _codes(refuse(reseal(_put(raw, "<I", 24, 1)))) == ["LB609"]
    (finding,) = refuse(reseal(_put(raw, "<I", _HEADER + 28, 2)))
    assert (finding.code, finding.found) == ("LB609", "flags 0x2")


@pytest.mark.parametrize(
    "manifest",
    [
        b"[1]",
        b"{",
        b"\xff{}",
        b'{"a": 1}',
        b'{"b":1,"a":2}',
        b'{"a":1,"a":1}',
        b'{"a":NaN}',
        b'{"a":1e999}',
        b'{"a":1.50}',
        b'{"a":' + b"9" * 5000 + b"}",
        b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"a":"\\ud800"}',
        b"\xef\xbb\xbf{}",
        b"",
    ],
)
def test_a_manifest_that_is_not_canonical_json_is_refused(
    refuse: Refuse, reseal: Reseal, manifest: bytes
) -> None:
    (finding,) = refuse(reseal(_with_manifest(manifest)))
    assert finding.code == "LB607"
    assert finding.found


def _with_manifest(manifest: bytes) -> bytes:
    """Build a program that is only a manifest of these bytes."""
    padding = bytes(-len(manifest) % 64)
    head = b"\x89LBC\r\n\x1a\n"
    head += struct.pack("<HHIQI", 1, 0, 1, 128 + len(manifest) + len(padding), 0)
    table = struct.pack("<IIQQII", 1, 0, 128, len(manifest), 0, 0)
    return head + bytes(36) + table + bytes(32) + manifest + padding


def test_a_manifest_of_more_than_16_mib_is_refused(refuse: Refuse, reseal: Reseal) -> None:
    (finding,) = refuse(reseal(_with_manifest(b" " * ((1 << 24) + 1))))
    assert finding.code == "LB607"
    assert "16777217 bytes" in finding.found


def test_text_mode_damage_says_to_copy_as_binary(raw: bytes, refuse: Refuse) -> None:
    for damaged in (
        raw.replace(b"\r\n", b"\n"),
        raw.replace(b"\n", b"\r\n"),
        bytes(b & 0x7F for b in raw),
        raw.decode(errors="replace").encode(),
    ):
        (finding,) = refuse(damaged)
        assert finding.code == "LB601"
        assert "copy it as binary" in finding.hint


def test_a_git_lfs_pointer_says_to_pull(refuse: Refuse) -> None:
    (finding,) = refuse(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n")
    assert finding.code == "LB601"
    assert "git lfs pull" in finding.hint


def test_another_kind_of_file_is_not_a_program(refuse: Refuse) -> None:
    for data in (b"\x08\x07\x12", b"PK\x03\x04" * 30, b"\x80\x04\x95cposix\nsystem\n" + bytes(99)):
        assert _codes(refuse(data)) == ["LB601"]


@pytest.mark.parametrize("name", ["missing.lbc", ".", "missing/net.lbc"])
def test_a_path_that_is_no_file_cannot_be_read(tmp_path: Path, name: str) -> None:
    with pytest.raises(CompileError) as caught:
        read_container(tmp_path / name)
    (finding,) = caught.value.diagnostics
    assert finding.code == "LB613"
    assert str(tmp_path / name) in finding.message


def test_messages_name_the_file(raw: bytes, tmp_path: Path) -> None:
    path = tmp_path / "net.lbc"
    path.write_bytes(raw[:-1])
    with pytest.raises(CompileError, match=r"net\.lbc is cut short"):
        read_container(path)
