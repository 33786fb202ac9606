"""What is written as lowbitc.toml is read back as it was."""

from __future__ import annotations

import dataclasses
import glob
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lowbitc.compiler.bits import WIDTHS, LayerBits
from lowbitc.compiler.config import Config, read_config
from lowbitc.compiler.datasets.preprocess import Preprocess
from lowbitc.compiler.ir import ops
from lowbitc.compiler.write_config import spell_config

if TYPE_CHECKING:
    from pathlib import Path

FULL = Config(
    bits="8/4/4",
    target="lb1",
    calib="samples.npz",
    limit=384,
    clip="mse",
    weights="feedback",
    offload="all",
    mode="fast",
    layers=(
        LayerBits("/head/*", 8, 4),
        LayerBits("last", None, 2),
        LayerBits("kept", on_host=True),
    ),
    preprocess=Preprocess((8, 9), "nhwc", "bgr", (1.5, 1e-30, 1e22), (0.1,), 10),
    shapes=("x=N,3,8,8", "y=4"),
    states=("h=hn",),
)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
WIDTH = st.none() | st.sampled_from(WIDTHS)
LAYERS = st.builds(LayerBits, TEXTS, WIDTH, WIDTH, on_host=st.booleans())


def _back(folder: Path, text: str) -> Config:
    path = folder / "lowbitc.toml"
    path.write_text(text, encoding="utf-8")
    return read_config(path)


def test_every_setting_comes_back(tmp_path: Path) -> None:
    assert all(getattr(FULL, f.name) not in (None, ()) for f in dataclasses.fields(FULL))
    assert _back(tmp_path, spell_config(FULL)) == FULL


def test_nothing_said_is_nothing_written() -> None:
    assert not spell_config(Config())


def test_comments_stand_above_what_they_speak_of(tmp_path: Path) -> None:
    text = spell_config(FULL, ["found by\nsearch"], {"last": "drop 0.2 %\n4 would cost more"})
    assert text.startswith("# found by search\n")
    assert '# drop 0.2 %\n# 4 would cost more\n[[layer]]\nmatch = "last"\n' in text
    assert _back(tmp_path, text) == FULL


@settings(max_examples=60, deadline=None)
@given(st.lists(LAYERS, max_size=3), TEXTS)
def test_any_text_survives(
    tmp_path_factory: pytest.TempPathFactory, layers: list[LayerBits], text: str
) -> None:
    config = Config(calib=text, layers=tuple(layers), shapes=(text,))
    spelled = spell_config(config, [text], {layer.match: text for layer in layers})
    assert _back(tmp_path_factory.mktemp("any"), spelled) == config


@pytest.mark.parametrize("name", ["/a/Conv", "a[0]", "what?", "*", "x]y", "[!a]"])
def test_an_exact_pattern_fits_its_name_only(name: str) -> None:
    layer = LayerBits(glob.escape(name))
    fields = {"inputs": (), "outputs": (), "sources": ()}
    assert layer.fits(ops.Relu(name=name, **fields))
    for other in (f"{name}x", "a", name[:-1]):
        assert not layer.fits(ops.Relu(name=other, **fields))
