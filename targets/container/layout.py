"""The byte layout of a ``.lbc`` program, format 1.0.

All integers are little endian; lengths and offsets are in bytes, offsets from the file's start.

Header, 64 bytes::

    offset  size  field
         0     8  magic: 89 4C 42 43 0D 0A 1A 0A
         8     2  format version, major
        10     2  format version, minor
        12     4  number of sections, n
        16     8  length of the whole file
        24     4  reserved, 0
        28     4  CRC-32 of bytes 0 to 27 followed by the section table
        32    32  SHA-256 of the whole file without these 32 bytes

Section table, from offset 64, n entries of 32 bytes in ascending order of (type, number)::

         0     4  type, see SectionType
         4     4  number among the sections of that type
         8     8  offset of the section
        16     8  length of the section, without padding
        24     4  CRC-32 of the section, without padding
        28     4  flags; bit 0: optional; the other bits are 0

Sections follow in the order of the table. The first starts at the first multiple of 64 at or
after the end of the table, each other one at the first multiple of 64 at or after the end of the
one before, and the file ends at the first multiple of 64 at or after the end of the last. Every
byte between is 0. So offsets follow from lengths, and the same content has exactly one file.

CRC-32 is that of zlib and PNG. The bytes of the magic are those that transfers break: one above
127, a carriage return with line feed, an end-of-file mark, and a line feed alone.
"""

from __future__ import annotations

import enum
import hashlib
import struct
import zlib
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

MAGIC: Final = b"\x89LBC\r\n\x1a\n"
MAJOR: Final = 1
MINOR: Final = 0

ALIGNMENT: Final = 64
HEADER_BYTES: Final = 64
ENTRY_BYTES: Final = 32
DIGEST_OFFSET: Final = 32
OPTIONAL_FLAG: Final = 1

MAX_FILE_BYTES: Final = 1 << 36
MAX_SECTIONS: Final = 1 << 16
MAX_U32: Final = (1 << 32) - 1

_HEADER: Final = struct.Struct("<8sHHIQI")
_CRC: Final = struct.Struct("<I")
_ENTRY: Final = struct.Struct("<IIQQII")


class SectionType(enum.IntEnum):
    """What a section holds; the numbers are in files and never change."""

    MANIFEST = 1
    """Canonical JSON: what made the program, from what, and what the sections mean."""
    NP_IMAGE = 2
    """Memory of one neural processor; opaque to the container."""
    TABLES = 3
    """Tables that neural processors share; opaque to the container."""
    CPU_PIECE = 4
    """An ONNX model that runs on the CPU."""
    KNOWN_ANSWER = 5
    """Arrays: inputs and the outputs that the chip gives for them."""
    CONSTANTS = 6
    """Arrays that belong to no one neural processor."""


class Header(NamedTuple):
    """The header's fields before its check sums."""

    magic: bytes
    major: int
    minor: int
    section_count: int
    file_bytes: int
    reserved: int


class Entry(NamedTuple):
    """One entry of the section table."""

    kind: int
    number: int
    offset: int
    length: int
    crc: int
    flags: int

    @property
    def name(self) -> str:
        """Name the section for messages: ``NP_IMAGE 3``."""
        return section_name(self.kind, self.number)

    @property
    def end(self) -> int:
        """Offset of the first byte after the section, before its padding."""
        return self.offset + self.length

    def view(self, data: memoryview) -> memoryview:
        """Show the section's bytes in the file's without copying."""
        return data[self.offset : self.end]


def section_name(kind: int, number: int) -> str:
    """Name a section for messages; types of newer formats are shown by their number."""
    if kind in SectionType.__members__.values():
        return f"{SectionType(kind).name} {number}"
    return f"type {kind} section {number}"


def align(offset: int) -> int:
    """Round up to the next multiple of 64."""
    return -(-offset // ALIGNMENT) * ALIGNMENT


def as_bytes(data: bytes | memoryview) -> memoryview:
    """Show data of any shape as a row of bytes, without copying unless it is scattered."""
    view = memoryview(data)
    if view.nbytes == 0:  # An empty view cannot be cast.
        return memoryview(b"")
    return view.cast("B") if view.c_contiguous else memoryview(view.tobytes())


def table_end(section_count: int) -> int:
    """Offset of the first byte after the section table."""
    return HEADER_BYTES + section_count * ENTRY_BYTES


def pack_header(header: Header) -> bytes:
    """Encode the fields before the check sums: 28 bytes."""
    return _HEADER.pack(*header)


def unpack_header(data: memoryview) -> Header:
    """Decode the fields before the check sums from a header of 64 bytes."""
    return Header(*_HEADER.unpack_from(data))


def pack_table(entries: Iterable[Entry]) -> bytes:
    """Encode the section table."""
    return b"".join(_ENTRY.pack(*entry) for entry in entries)


def unpack_table(table: memoryview) -> list[Entry]:
    """Decode the section table; its length is a multiple of 32."""
    return [Entry(*fields) for fields in _ENTRY.iter_unpack(table)]


def table_crc(header: bytes | memoryview, table: bytes | memoryview) -> int:
    """Check sum of the header's first 28 bytes and the section table."""
    return zlib.crc32(table, zlib.crc32(header[: _HEADER.size]))


def stored_table_crc(header: memoryview) -> int:
    """Read the check sum that a header of 64 bytes holds."""
    (crc,) = _CRC.unpack_from(header, _HEADER.size)
    return int(crc)


def seal(header: bytes, table: bytes, body: Iterable[bytes | memoryview]) -> bytes:
    """Complete a header of 28 bytes with both check sums; ``body`` is all after the table."""
    start = header + _CRC.pack(table_crc(header, table))
    return start + file_digest((start, table, *body))


def file_digest(parts: Iterable[bytes | memoryview]) -> bytes:
    """SHA-256 over the file's parts, the digest's own 32 bytes left out."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.digest()
