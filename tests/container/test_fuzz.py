"""No bytes, however damaged or forged, give anything but a program or a coded refusal."""

from __future__ import annotations

from collections.abc import Callable

import hypothesis
from hypothesis import strategies as st

from lowbitc.compiler.diagnostics import CompileError
from lowbitc.targets.container import (
    Container,
    container_bytes,
    decode_arrays,
    encode_arrays,
    read_container,
)

Reseal = Callable[[bytes], bytes]

_REFUSALS = {f"LB{number}" for number in range(601, 614)}
_EDITS = st.lists(st.tuples(st.integers(0, 1 << 16), st.binary(min_size=1, max_size=9)), max_size=6)


def _edit(raw: bytes, edits: list[tuple[int, bytes]], end: int) -> bytes:
    changed = bytearray(raw)
    for at, new in edits:
        start = at % end
        changed[start : start + len(new)] = new[: len(changed) - start]
    return bytes(changed)


def _codes(read: Callable[[], object]) -> set[str]:
    """Codes of the refusal; none when the data is read."""
    try:
        read()
    except CompileError as refusal:
        return {finding.code for finding in refusal.diagnostics}
    return set()


def _read_or_refuse(data: bytes) -> Container | None:
    if codes := _codes(lambda: read_container(data)):
        assert codes <= _REFUSALS
        return None
    return read_container(data)


@hypothesis.settings(deadline=None)
@hypothesis.given(edits=_EDITS)
def test_damaged_bytes_give_the_same_program_or_a_refusal(
    raw: bytes, program: Container, edits: list[tuple[int, bytes]]
) -> None:
    damaged = _edit(raw, edits, len(raw))
    container = _read_or_refuse(damaged)
    assert (container == program) if damaged == raw else (container is None)


@hypothesis.settings(deadline=None)
@hypothesis.given(edits=_EDITS, everywhere=st.booleans())
def test_forged_bytes_that_are_read_are_the_one_form_of_what_they_say(
    raw: bytes, reseal: Reseal, edits: list[tuple[int, bytes]], *, everywhere: bool
) -> None:
    # Most of what can go wrong is in the header and the table, so half of the edits are there.
    forged = reseal(_edit(raw, edits, len(raw) if everywhere else 320))
    container = _read_or_refuse(forged)
    assert container is None or container_bytes(container) == forged


@hypothesis.settings(deadline=None)
@hypothesis.given(st.binary(max_size=400))
def test_any_bytes_after_the_magic_are_refused(data: bytes) -> None:
    assert _read_or_refuse(b"\x89LBC\r\n\x1a\n" + data) is None


@hypothesis.settings(deadline=None)
@hypothesis.given(edits=_EDITS, cut=st.integers(0, 64))
def test_forged_arrays_that_are_read_are_the_one_form_of_what_they_say(
    program: Container, edits: list[tuple[int, bytes]], cut: int
) -> None:
    data = next(bytes(s.data) for s in program.sections if s.name == "KNOWN_ANSWER 0")
    forged = _edit(data, edits, len(data))[: len(data) - cut]
    codes = _codes(lambda: decode_arrays(forged))
    assert codes <= {"LB615"}
    assert codes or encode_arrays(decode_arrays(forged)) == forged
