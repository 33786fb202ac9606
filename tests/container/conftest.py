"""A small program, and tools to damage it with check sums that still fit."""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest

from lowbitc.compiler.codes import CATALOGUE
from lowbitc.compiler.diagnostics import CompileError, Diagnostic
from lowbitc.targets.container import (
    Container,
    Section,
    SectionType,
    container_bytes,
    encode_arrays,
    read_container,
)

Refuse = Callable[[bytes], tuple[Diagnostic, ...]]
Reseal = Callable[[bytes], bytes]


@pytest.fixture(scope="session")
def program() -> Container:
    """Give a program with a section of every type, one of them empty, and an optional one."""
    answers = {"x": np.ones((3, 4), np.uint8), "y": np.array([0.1, -2.5])}
    return Container(
        {"tool": "lowbitc", "scales": [0.1, 1e-30], "layers": {"/conv": {"bits": 2}}, "é": None},
        (
            Section(SectionType.NP_IMAGE, 0, bytes(range(200))),
            Section(SectionType.NP_IMAGE, 1, b"\xff" * 64),
            Section(SectionType.TABLES, 0, b""),
            Section(SectionType.CPU_PIECE, 0, b"an ONNX model", optional=True),
            Section(SectionType.KNOWN_ANSWER, 0, encode_arrays(answers)),
            Section(SectionType.CONSTANTS, 0, b"\x01"),
            Section(77, 5, b"of a later format", optional=True),
        ),
    )


@pytest.fixture(scope="session")
def raw(program: Container) -> bytes:
    """Give the bytes of the program."""
    return container_bytes(program)


@pytest.fixture(scope="session")
def refuse() -> Refuse:
    """Give a function that reads bytes, expects a refusal and returns its findings."""

    def _refuse(data: bytes) -> tuple[Diagnostic, ...]:
        with pytest.raises(CompileError) as caught:
            read_container(data)
        findings = caught.value.diagnostics
        assert all(f.code.startswith("LB6") and f.code in CATALOGUE for f in findings)
        return findings

    return _refuse


@pytest.fixture(scope="session")
def reseal() -> Reseal:
    """Give a function that mends every check sum of a changed program, as a forger would."""

    def _reseal(data: bytes) -> bytes:
        mended = bytearray(data)
        (count,) = struct.unpack_from("<I", mended, 12)
        end = min(64 + 32 * count, len(mended) - 31)
        for entry in range(64, end, 32):
            offset, length = struct.unpack_from("<QQ", mended, entry + 8)
            struct.pack_into("<I", mended, entry + 24, zlib.crc32(mended[offset : offset + length]))
        struct.pack_into(
            "<I", mended, 28, zlib.crc32(mended[64 : 64 + 32 * count], zlib.crc32(mended[:28]))
        )
        mended[32:64] = hashlib.sha256(mended[:32] + mended[64:]).digest()
        return bytes(mended)

    return _reseal
