"""A neural processor's image keeps its block, its constants and its routes."""

from __future__ import annotations

import dataclasses

import pytest

from lowbitc.compiler.elements import I4, ODD2, LevelType
from lowbitc.targets.placement.model import EXTERNAL
from lowbitc.targets.program.image import Image, ImageError, read_image

IMAGE = Image(
    layer=3,
    pass_index=1,
    x=5,
    y=2,
    channels=(8, 16),
    inputs=(0, 4),
    columns=(0, 7),
    weight=I4,
    weights=b"weights",
    stage=b"stage",
    table=bytes(range(16)),
    activation_bytes=99,
    routes=((4, 6), (EXTERNAL, EXTERNAL)),
)


@pytest.mark.parametrize("weight", [I4, ODD2, None])
def test_an_image_comes_back_from_its_bytes(weight: LevelType | None) -> None:
    image = dataclasses.replace(IMAGE, weight=weight)
    assert read_image(image.to_bytes()) == image


def test_the_header_stands_at_the_documented_offsets() -> None:
    data = dataclasses.replace(IMAGE, weight=ODD2).to_bytes()
    words = [int.from_bytes(data[i : i + 4], "little") for i in range(4, 64, 4)]
    assert data[:4] == bytes([1, 0, 2, 2])
    assert words == [3, 1, 5, 2, 8, 16, 0, 4, 0, 7, 7, 5, 16, 99, 2]
    assert data[80:92] == b"weightsstage"
    assert data[-16:] == bytes([4, 0, 0, 0, 6, 0, 0, 0]) + b"\xff" * 8


@pytest.mark.parametrize(
    ("at", "value", "message"),
    [
        (0, 2, "version 2"),
        (2, 7, "alphabet 7"),
        (3, 3, "and 3 bits"),
        (20, 16, "an empty block"),
        (44, 8, "bytes for parts"),
        (60, 3, "bytes for parts"),
        (70, 1, "reserved"),
    ],
)
def test_fields_that_no_image_has_are_refused(at: int, value: int, message: str) -> None:
    data = bytearray(IMAGE.to_bytes())
    data[at] = value
    with pytest.raises(ImageError, match=message):
        read_image(bytes(data))


def test_bytes_that_end_early_are_refused() -> None:
    for length in range(len(IMAGE.to_bytes())):
        with pytest.raises(ImageError):
            read_image(IMAGE.to_bytes()[:length])
