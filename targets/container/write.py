"""Write a program so that the same content always gives the same file, whole or not at all."""

from __future__ import annotations

import errno
import os
import zlib
from itertools import accumulate
from typing import TYPE_CHECKING, Final

from lowbitc.compiler.diagnostics import CompileError, error
from lowbitc.compiler.replace_file import replace_file
from lowbitc.targets.container.container import Section
from lowbitc.targets.container.layout import (
    MAGIC,
    MAJOR,
    MAX_FILE_BYTES,
    MAX_SECTIONS,
    OPTIONAL_FLAG,
    Entry,
    Header,
    SectionType,
    align,
    as_bytes,
    pack_header,
    pack_table,
    seal,
    table_end,
)
from lowbitc.targets.container.manifest import encode_manifest

if TYPE_CHECKING:
    from lowbitc.targets.container.container import Container

_HINTS: Final = {
    "ENOENT": "create the folder first",
    "ENOTDIR": "create the folder first",
    "EACCES": "name a folder that you may write to",
    "EPERM": "name a folder that you may write to",
    "EROFS": "name a folder that you may write to",
    "ENOSPC": "free some space on the disk",
    "EDQUOT": "free some space within your disk quota",
    "EFBIG": "raise the limit on the size of files",
}


def container_bytes(container: Container) -> bytes:
    """Encode a program in memory.

    Raises:
        ManifestError: the manifest has no canonical form.
        ValueError: more sections or bytes than the format holds.

    """
    return b"".join(_parts(container))


def container_digest(container: Container) -> str:
    """SHA-256 of the program as its header holds it, in hexadecimal: its identity."""
    header, *_ = _parts(container)
    return bytes(header[-32:]).hex()


def write_container(path: str | os.PathLike[str], container: Container) -> None:
    """Write a program to a file, replacing an older one only when all of it is on the disk.

    A failure leaves the older file as it was, and no other file beside it; a process killed in
    the middle may leave a hidden ``.lbc-*.tmp``. A link is followed, and its target replaced.

    Raises:
        CompileError: LB614, the file cannot be written; the reason is the system's.
        ManifestError: the manifest has no canonical form.
        ValueError: more sections or bytes than the format holds.

    """
    parts = _parts(container)
    try:
        replace_file(path, parts)
    except OSError as problem:
        reason = errno.errorcode.get(problem.errno or 0, type(problem).__name__)
        raise CompileError(
            [
                error(
                    "LB614",
                    f"{os.fspath(path)} cannot be written: {problem.strerror or problem}",
                    found=reason,
                    hint=_HINTS.get(reason, "name another file with -o"),
                )
            ]
        ) from problem


def _parts(container: Container) -> list[bytes | memoryview]:
    """Lay the program out: header, table, then every section and its padding."""
    manifest = Section(SectionType.MANIFEST, 0, encode_manifest(container.manifest))
    sections = sorted((manifest, *container.sections), key=lambda s: (s.kind, s.number))
    if len(sections) > MAX_SECTIONS:
        message = f"{len(sections)} sections; a program holds at most {MAX_SECTIONS}"
        raise ValueError(message)
    data = [as_bytes(section.data) for section in sections]
    start = table_end(len(sections))
    offsets = list(
        accumulate((len(d) for d in data), lambda o, n: align(o + n), initial=align(start))
    )
    file_bytes = offsets[-1]
    if file_bytes > MAX_FILE_BYTES:
        message = f"{file_bytes} bytes; a program holds at most {MAX_FILE_BYTES}"
        raise ValueError(message)
    table = pack_table(
        Entry(s.kind, s.number, offset, len(d), zlib.crc32(d), OPTIONAL_FLAG * s.optional)
        for s, offset, d in zip(sections, offsets, data, strict=False)
    )
    body: list[bytes | memoryview] = [bytes(offsets[0] - start)]
    for d in data:
        body += (d, bytes(align(len(d)) - len(d)))
    header = Header(MAGIC, MAJOR, container.minor, len(sections), file_bytes, 0)
    return [seal(pack_header(header), table, body), table, *body]
