"""Arrays come back with their names, types, shapes and bits."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lowbitc.compiler.diagnostics import CompileError
from lowbitc.targets.container import decode_arrays, encode_arrays

if TYPE_CHECKING:
    from lowbitc.compiler.elements import Array

_DTYPES = st.sampled_from(["?", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8"])
_ARRAYS: st.SearchStrategy[dict[str, Array]] = st.dictionaries(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=70),
    _DTYPES.flatmap(lambda d: hnp.arrays(d, hnp.array_shapes(min_dims=0, min_side=0, max_side=4))),
    max_size=4,
)


@hypothesis.settings(deadline=None)
@hypothesis.given(_ARRAYS)
def test_arrays_come_back_bit_for_bit(arrays: dict[str, Array]) -> None:
    data = encode_arrays(arrays)
    decoded = decode_arrays(data)
    assert sorted(arrays, key=str.encode) == list(decoded)
    for name, array in arrays.items():
        assert decoded[name].dtype == array.dtype
        assert decoded[name].shape == array.shape
        assert decoded[name].tobytes() == array.tobytes()
    assert encode_arrays(dict(reversed(arrays.items()))) == data
    assert len(data) % 64 == 0


def test_the_bytes_are_as_documented() -> None:
    data = encode_arrays({"y": np.array([[1, -2]], np.int16)})
    record = struct.pack("<HBBIQQQ", 1, 4, 2, 0, 4, 1, 2) + b"y"
    assert data == (
        struct.pack("<II", 1, 0).ljust(64, b"\0")
        + record.ljust(64, b"\0")
        + struct.pack("<hh", 1, -2).ljust(64, b"\0")
    )


def test_byte_order_and_memory_layout_do_not_matter() -> None:
    plain = np.array([[0, 1, 2], [3, 4, 5]], "<i4")
    for other in (plain.astype(">i4"), np.asfortranarray(plain)):
        assert encode_arrays({"x": other}) == encode_arrays({"x": plain})


def test_decoded_arrays_are_views_that_cannot_be_written() -> None:
    array = decode_arrays(encode_arrays({"x": np.zeros(3)}))["x"]
    assert not array.flags.writeable
    assert not array.flags.owndata


@pytest.mark.parametrize(
    ("offset", "form", "value", "found"),
    [
        (0, "<I", (1 << 32) - 1, "0 of 16 bytes"),
        (4, "<I", 1, "reserved"),
        (64, "<H", 65535, "of 65535 bytes"),
        (66, "<B", 0, "array header"),
        (66, "<B", 13, "array header"),
        (67, "<B", 9, "array header"),
        (68, "<I", 1, "array header"),
        (72, "<Q", 1 << 63, "9223372036854775808 bytes for array"),
        (80, "<Q", 1 << 63, "for array"),
        (88, "<B", 0xFF, "not UTF-8"),
        (89, "<B", 1, "padding"),
        (191, "<B", 1, "padding"),
        (0, "<I", 0, "bytes after the last array"),
    ],
)
def test_a_malformed_section_says_what_was_found(
    offset: int, form: str, value: int, found: str
) -> None:
    data = bytearray(encode_arrays({"x": np.arange(2, dtype=np.uint8)}))
    struct.pack_into(form, data, offset, value)
    with pytest.raises(CompileError) as caught:
        decode_arrays(bytes(data))
    (finding,) = caught.value.diagnostics
    assert finding.code == "LB615"
    assert found in finding.found


def test_two_arrays_of_one_name_are_refused() -> None:
    data = encode_arrays({"x": np.zeros(1), "y": np.zeros(1)})
    with pytest.raises(CompileError) as caught:
        decode_arrays(data.replace(b"y", b"x"))
    assert "array b'x' after b'x'" in caught.value.diagnostics[0].found


@pytest.mark.parametrize(
    "array", [np.zeros(1, np.complex64), np.array(["s"]), np.zeros((1,) * 9)], ids=str
)
def test_an_array_that_the_format_does_not_hold_is_refused(array: Array) -> None:
    with pytest.raises(ValueError, match="dimensions"):
        encode_arrays({"x": array})
