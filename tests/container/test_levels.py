"""Levels come back from their bits, for every alphabet and width."""

from __future__ import annotations

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from lowbitc.compiler.diagnostics import CompileError
from lowbitc.compiler.elements import (
    I1,
    I2,
    I4,
    I8,
    I32,
    ODD1,
    ODD2,
    ODD4,
    U1,
    U2,
    U4,
    U8,
    Alphabet,
    LevelType,
)
from lowbitc.targets.container import pack_levels, packed_bytes, unpack_levels

_ELEMENTS = (U1, U2, U4, U8, I1, I2, I4, I8, ODD1, ODD2, ODD4)
_LEVELS = st.sampled_from(_ELEMENTS).flatmap(
    lambda e: st.tuples(st.just(e), st.lists(st.sampled_from(e.levels().tolist()), max_size=40))
)


@hypothesis.settings(deadline=None)
@hypothesis.given(_LEVELS)
def test_levels_come_back_from_their_bits(case: tuple[LevelType, list[int]]) -> None:
    element, levels = case
    data = pack_levels(np.array(levels, np.int64), element)
    unpacked = unpack_levels(data, element, len(levels))
    assert (
        len(data) == packed_bytes(len(levels), element.bits) == -(-len(levels) * element.bits // 8)
    )
    assert unpacked.tolist() == levels
    assert unpacked.dtype == element.dtype


@pytest.mark.parametrize(
    ("element", "levels", "expected"),
    [
        (U1, [1, 0, 0, 0, 0, 0, 0, 0, 1], b"\x01\x01"),
        (ODD1, [-1, 1, 1], b"\x06"),
        (I1, [0, -1, -1], b"\x06"),
        (U2, [3, 0, 1], b"\x13"),
        (I2, [-1, 0, 1, -2], b"\x93"),
        (ODD2, [-3, -1, 1, 3], b"\xe4"),
        (I4, [-1, 7, -8], b"\x7f\x08"),
        (ODD4, [-15, 15, 1], b"\xf0\x08"),
        (U8, [255, 0], b"\xff\x00"),
        (I8, [-1, -128], b"\xff\x80"),
    ],
    ids=lambda value: value.name if isinstance(value, LevelType) else None,
)
def test_the_first_level_is_in_the_lowest_bits(
    element: LevelType, levels: list[int], expected: bytes
) -> None:
    assert pack_levels(np.array(levels), element) == expected


def test_arrays_are_packed_in_c_order() -> None:
    matrix = np.array([[0, 1, 2], [3, 4, 5]])
    assert pack_levels(np.transpose(matrix), U4) == pack_levels(np.array([0, 3, 1, 4, 2, 5]), U4)


@pytest.mark.parametrize("element", _ELEMENTS, ids=lambda e: e.name)
def test_a_level_outside_the_alphabet_is_refused(element: LevelType) -> None:
    for wrong in (element.minimum - 1, element.maximum + 1, 1 << 40):
        with pytest.raises(ValueError, match=f"do not fit {element.name}"):
            pack_levels(np.array([element.maximum, wrong]), element)


@pytest.mark.parametrize("element", [ODD1, ODD2, ODD4], ids=lambda e: e.name)
def test_an_even_level_is_refused_among_odd_ones(element: LevelType) -> None:
    with pytest.raises(ValueError, match="even level"):
        pack_levels(np.array([1, 0]), element)


@pytest.mark.parametrize("element", [I32, LevelType(Alphabet.ODD, 8)], ids=lambda e: e.name)
def test_element_types_that_have_no_packed_form_are_refused(element: LevelType) -> None:
    with pytest.raises(ValueError, match="are not packed"):
        pack_levels(np.array([1]), element)
    with pytest.raises(ValueError, match="are not packed"):
        unpack_levels(b"\0", element, 1)


@pytest.mark.parametrize(
    ("data", "found"), [(b"\0", "1 bytes"), (b"\0\0\0", "3 bytes"), (b"\0\x40", "last byte 0x40")]
)
def test_packed_levels_of_another_length_are_refused(data: bytes, found: str) -> None:
    with pytest.raises(CompileError) as caught:
        unpack_levels(data, I2, 7)
    (finding,) = caught.value.diagnostics
    assert finding.code == "LB615"
    assert found in finding.found
