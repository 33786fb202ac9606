"""The manifest has one form, and numbers come back as they were."""

from __future__ import annotations

import json
import math

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from lowbitc.targets.container import Json, ManifestError
from lowbitc.targets.container.manifest import decode_manifest, encode_manifest

_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
_LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _TEXT
)
_JSON: st.SearchStrategy[Json] = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXT, inner, max_size=4),
    max_leaves=12,
)


@hypothesis.settings(deadline=None)
@hypothesis.given(st.dictionaries(_TEXT, _JSON, max_size=5))
def test_what_is_written_reads_back_the_same(manifest: dict[str, Json]) -> None:
    written = encode_manifest(manifest)
    assert decode_manifest(written) == manifest
    assert json.loads(written) == manifest
    assert encode_manifest(dict(reversed(manifest.items()))) == written


@hypothesis.settings(deadline=None)
@hypothesis.given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_float32_scales_come_back_bit_for_bit(scale: float) -> None:
    read = decode_manifest(encode_manifest({"scale": float(np.float32(scale))}))["scale"]
    assert isinstance(read, float)
    assert np.float32(read).tobytes() == np.float32(scale).tobytes()


def test_the_canonical_form_is_as_documented() -> None:
    manifest: dict[str, Json] = {
        "é": 'a"\\\n\x01\x7f/',
        "Z": [1, -0.0, 1e-7, 1e22, 3.0, True, None],
        "a": {"b": (), "A": {}},
        "\U0001f600": "",
        "\uffff": 2**64 - 1,
    }
    assert encode_manifest(manifest).decode() == (
        '{"Z":[1,-0.0,1e-07,1e+22,3.0,true,null],"a":{"A":{},"b":[]},'
        '"é":"a\\"\\\\\\n\\u0001\x7f/","\uffff":18446744073709551615,"\U0001f600":""}'
    )


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (math.nan, "nan is not a finite number"),
        (-math.inf, "-inf is not a finite number"),
        (1 << 64, "more than 64 bits"),
        (-(1 << 63) - 1, "more than 64 bits"),
        ("\ud800", "UTF-8"),
        (b"bytes", "a bytes is not a JSON value"),
        (range(2), "a range is not a JSON value"),
    ],
)
def test_a_value_without_a_canonical_form_is_refused(value: Json, reason: str) -> None:
    with pytest.raises(ManifestError, match=reason):
        encode_manifest({"deep": [{"er": value}]})


def test_nesting_is_bounded_alike_when_writing_and_reading() -> None:
    value: Json = 0
    for _ in range(31):
        value = [value]
    deepest = encode_manifest({"a": value})
    assert decode_manifest(deepest) == {"a": value}
    with pytest.raises(ManifestError, match="nested deeper than 32"):
        encode_manifest({"a": [value]})
    with pytest.raises(ManifestError, match="nested deeper than 32"):
        decode_manifest(deepest.replace(b"0", b"[]"))


def test_a_long_run_of_digits_is_refused_before_it_is_converted() -> None:
    with pytest.raises(ManifestError, match="an integer of 4000 digits"):
        decode_manifest(b'{"a":' + b"9" * 4000 + b"}")


def test_brackets_inside_strings_are_not_nesting() -> None:
    manifest = {"a": "[" * 100 + '"{\\' * 100, "b": "\\"}
    assert decode_manifest(encode_manifest(manifest)) == manifest


def test_a_manifest_that_is_too_large_is_refused_when_written() -> None:
    with pytest.raises(ManifestError, match="bytes; the most is 16777216"):
        encode_manifest({"a": "x" * (1 << 24)})
