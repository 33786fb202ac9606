"""Check a program's lengths, order and check sums before anything in it is used."""

from __future__ import annotations

import zlib
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from lowbitc.compiler.diagnostics import CompileError, error
from lowbitc.targets.container.layout import (
    DIGEST_OFFSET,
    HEADER_BYTES,
    MAGIC,
    MAJOR,
    MAX_FILE_BYTES,
    MAX_SECTIONS,
    MINOR,
    OPTIONAL_FLAG,
    Entry,
    Header,
    SectionType,
    align,
    file_digest,
    stored_table_crc,
    table_crc,
    table_end,
    unpack_header,
    unpack_table,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lowbitc.compiler.diagnostics import Diagnostic

_KNOWN: Final = frozenset(SectionType)
_GIT_LFS: Final = b"version https://git-lfs"
_COPY_AGAIN: Final = "copy the file again as binary, or compile the model again"
_COMPILE_AGAIN: Final = "compile the model again"
_UPDATE: Final = "update lowbitc, or compile the model again with this version"


def check_header(name: str, data: memoryview) -> Header:
    """Check all that the header says against the length of the file.

    Raises:
        CompileError: LB601, LB602, LB604, LB605, LB608 or LB609.

    """
    size = len(data)
    if (start := bytes(data[: len(MAGIC)])) != MAGIC[:size]:
        raise CompileError([_not_a_program(name, data, start)])
    if size < HEADER_BYTES:
        raise CompileError([_truncated(name, size, f"at least {HEADER_BYTES} bytes")])
    header = unpack_header(data)
    end = table_end(header.section_count)
    if header.major != MAJOR:
        raise CompileError(
            [
                error(
                    "LB605",
                    f"{name} is of another major format version",
                    found=f"format {header.major}.{header.minor}",
                    allowed=f"format {MAJOR}.x",
                    hint=_UPDATE,
                )
            ]
        )
    if header.file_bytes > MAX_FILE_BYTES or header.section_count > MAX_SECTIONS:
        found = f"{header.file_bytes} bytes in {header.section_count} sections"
        allowed = f"at most {MAX_FILE_BYTES} bytes in {MAX_SECTIONS} sections"
        raise CompileError([_absurd(f"{name}: the header", found, allowed)])
    if end > header.file_bytes:
        found = f"{header.section_count} sections, whose table ends at byte {end}"
        raise CompileError([_absurd(f"{name}: the header", found, f"{header.file_bytes} bytes")])
    if size < end:
        raise CompileError([_truncated(name, size, f"{header.file_bytes} bytes")])
    if table_crc(data, data[HEADER_BYTES:end]) != stored_table_crc(data) or header.reserved != 0:
        raise CompileError(
            [
                error(
                    "LB609",
                    f"{name}: the header or the section table is damaged",
                    found="its CRC-32 or its reserved bytes differ from what was written",
                    hint=_COPY_AGAIN,
                )
            ]
        )
    if size < header.file_bytes:
        raise CompileError([_truncated(name, size, f"{header.file_bytes} bytes")])
    if size > header.file_bytes:
        raise CompileError(
            [
                error(
                    "LB608",
                    f"{name} has bytes after its end",
                    found=f"{size} bytes",
                    allowed=f"{header.file_bytes} bytes",
                    hint=_COPY_AGAIN,
                )
            ]
        )
    return header


def check_table(name: str, data: memoryview, header: Header) -> list[Entry]:
    """Check that sections are in order and stand exactly where their lengths put them.

    Raises:
        CompileError: LB604, LB609 or LB610, for every entry that is wrong.

    """
    end = table_end(header.section_count)
    entries = unpack_table(data[HEADER_BYTES:end])
    # An absurd length would put all that follows at a wrong place: report it alone.
    if absurd := [
        _absurd(f"{name}: section {e.name}", f"{e.length} bytes", f"{header.file_bytes} bytes")
        for e in entries
        if e.length > header.file_bytes
    ]:
        raise CompileError(absurd)
    if wrong := list(_misplaced(name, entries, align(end), header.file_bytes)):
        raise CompileError(wrong)
    return entries


def check_bytes(name: str, data: memoryview, entries: list[Entry]) -> Iterator[Diagnostic]:
    """Yield every section and every padding that is not what was written."""
    clean = True
    end = table_end(len(entries))
    gaps = [("the section table", end, align(end))]
    for e in entries:
        gaps.append((f"section {e.name}", e.end, align(e.end)))
        if (crc := zlib.crc32(e.view(data))) != e.crc:
            clean = False
            yield error(
                "LB603",
                f"{name}: section {e.name} is damaged",
                found=f"CRC-32 {crc:08x} over bytes {e.offset} to {e.end}",
                allowed=f"CRC-32 {e.crc:08x}",
                hint=_COPY_AGAIN,
            )
    for what, start, stop in gaps:
        if any(data[start:stop]):
            clean = False
            yield error(
                "LB611",
                f"{name}: the padding after {what} is not zero",
                found=bytes(data[start:stop]).hex(),
                hint=_COPY_AGAIN,
            )
    stored = bytes(data[DIGEST_OFFSET:HEADER_BYTES])
    if clean and (digest := file_digest((data[:DIGEST_OFFSET], data[HEADER_BYTES:]))) != stored:
        yield error(
            "LB612",
            f"{name} is not what its SHA-256 says was written",
            found=digest.hex(),
            allowed=stored.hex(),
            hint=_COPY_AGAIN,
        )


def check_types(name: str, header: Header, entries: list[Entry]) -> Iterator[Diagnostic]:
    """Yield the sections that a reader must understand and this one does not."""
    for e in entries:
        if e.kind not in _KNOWN and not e.flags & OPTIONAL_FLAG:
            yield error(
                "LB606",
                f"{name}: section {e.name} is required and unknown to this version of lowbitc",
                found=f"type {e.kind} in format {header.major}.{header.minor}",
                allowed=f"types {min(_KNOWN)} to {max(_KNOWN)} of format {MAJOR}.{MINOR}",
                hint=_UPDATE,
            )


def _misplaced(
    name: str, entries: list[Entry], start: int, file_bytes: int
) -> Iterator[Diagnostic]:
    for before, after in pairwise(entries):
        if (before.kind, before.number) >= (after.kind, after.number):
            yield error(
                "LB610",
                f"{name}: section {after.name} is out of order",
                found=f"it follows {before.name}",
                allowed="ascending order of type and number, none twice",
                hint=_COMPILE_AGAIN,
            )
    expected = start
    for e in entries:
        if e.offset != expected:
            yield error(
                "LB610",
                f"{name}: section {e.name} is misplaced",
                found=f"offset {e.offset}",
                allowed=f"offset {expected}, the first multiple of 64 after what is before it",
                hint=_COMPILE_AGAIN,
            )
        if e.flags & ~OPTIONAL_FLAG:
            yield error(
                "LB609",
                f"{name}: section {e.name} has flags that this format does not define",
                found=f"flags {e.flags:#x}",
                allowed="flags 0 or 1",
                hint=_UPDATE,
            )
        expected = align(expected + e.length)
    if expected != file_bytes:
        yield error(
            "LB610",
            f"{name}: the sections do not fill the file",
            found=f"they end at byte {expected}",
            allowed=f"{file_bytes} bytes",
            hint=_COMPILE_AGAIN,
        )


def _not_a_program(name: str, data: memoryview, start: bytes) -> Diagnostic:
    hint = "name a program that `lowbitc compile` wrote"
    if bytes(data[: len(_GIT_LFS)]) == _GIT_LFS:
        hint = "this is a Git LFS pointer; run `git lfs pull`"
    elif b"LBC" in start:
        hint = "the file was copied as text, which changed its line ends; copy it as binary"
    return error(
        "LB601",
        f"{name} is not a lowbitc program",
        found=f"it starts with {start.hex(' ')}",
        allowed=MAGIC.hex(" "),
        hint=hint,
    )


def _truncated(name: str, size: int, expected: str) -> Diagnostic:
    return error(
        "LB602",
        f"{name} is cut short",
        found=f"{size} bytes",
        allowed=expected,
        hint=_COPY_AGAIN,
    )


def _absurd(where: str, found: str, allowed: str) -> Diagnostic:
    return error(
        "LB604",
        f"{where} claims more than there can be",
        found=found,
        allowed=allowed,
        hint=_COPY_AGAIN,
    )
