"""Read a program, trusting none of it before it is checked."""

from __future__ import annotations

import errno
import mmap
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

from lowbitc.compiler.diagnostics import CompileError, error, raise_errors
from lowbitc.targets.container.container import Container, Section
from lowbitc.targets.container.layout import OPTIONAL_FLAG, SectionType
from lowbitc.targets.container.manifest import Json, ManifestError, decode_manifest
from lowbitc.targets.container.verify import check_bytes, check_header, check_table, check_types

if TYPE_CHECKING:
    from lowbitc.targets.container.layout import Entry

_MAP_FROM_BYTES: Final = 1 << 20


def read_container(source: str | os.PathLike[str] | bytes) -> Container:
    """Read a program from a file or from its bytes and verify every check sum.

    Files of 1 MiB and more are mapped, not copied: the sections are views of the file, which must
    not be changed in place while they are in use (write_container replaces it, which is safe).

    Raises:
        CompileError: LB601 to LB613; all damaged sections are named, not only the first.

    """
    if isinstance(source, bytes):
        return _decode("the program", memoryview(source))
    name = os.fspath(source)
    try:
        data = _open(Path(name))
    except OSError as problem:
        raise CompileError(
            [
                error(
                    "LB613",
                    f"{name} cannot be read: {problem.strerror or problem}",
                    hint="name a program that `lowbitc compile` wrote",
                )
            ]
        ) from problem
    return _decode(name, data)


def _open(path: Path) -> memoryview:
    """Map a large file, read a small one."""
    if not stat.S_ISREG(path.stat().st_mode):  # Opening a named pipe would wait for a writer.
        raise OSError(errno.EINVAL, "it is not a regular file")
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size < _MAP_FROM_BYTES:
            return memoryview(file.read())
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def _decode(name: str, data: memoryview) -> Container:
    """Check the layout, then the bytes, then what they mean."""
    header = check_header(name, data)
    entries = check_table(name, data, header)
    raise_errors(check_bytes(name, data, entries))
    raise_errors(check_types(name, header, entries))
    manifest = _manifest(name, data, entries)
    sections = tuple(
        Section(e.kind, e.number, e.view(data), bool(e.flags & OPTIONAL_FLAG))
        for e in entries
        if e.kind != SectionType.MANIFEST
    )
    return Container(manifest, sections, header.minor)


def _manifest(name: str, data: memoryview, entries: list[Entry]) -> dict[str, Json]:
    """Decode the one manifest."""
    found = [e for e in entries if e.kind == SectionType.MANIFEST]
    if [(e.number, e.flags) for e in found] != [(0, 0)]:
        shown = ", ".join(f"number {e.number} with flags {e.flags}" for e in found) or "none"
        raise CompileError(
            [
                error(
                    "LB607",
                    f"{name} does not have the one manifest that a program has",
                    found=shown,
                    allowed="one section MANIFEST 0 that is not optional",
                    hint="compile the model again",
                )
            ]
        )
    try:
        return decode_manifest(found[0].view(data))
    except ManifestError as problem:
        raise CompileError(
            [
                error(
                    "LB607",
                    f"{name} has a manifest that cannot be read",
                    found=str(problem),
                    allowed="a JSON object in canonical form",
                    hint="compile the model again",
                )
            ]
        ) from problem
