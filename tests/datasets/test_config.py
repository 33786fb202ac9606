"""lowbitc.toml: every key is known or refused, all at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lowbitc.compiler.config import read_config
from lowbitc.compiler.diagnostics import CompileError
from lowbitc.options import parse_shapes, settle

if TYPE_CHECKING:
    from pathlib import Path


def _write(folder: Path, text: str) -> Path:
    path = folder / "lowbitc.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_whole_file_is_read(tmp_path: Path) -> None:
    config = read_config(
        _write(
            tmp_path,
            'bits = "8/4/4"\n'
            'shape = ["x=N,3,8,8"]\n'
            "[preprocess]\nsize = [8, 8]\nmean = [1, 2, 3]\nscale = 0.5\nresize = 10\n"
            '[[layer]]\nmatch = "/head/*"\nweights = 8\n'
            '[[layer]]\nmatch = "last"\nhost = true\n',
        )
    )
    assert str(config.bits_or(None, "8/8/8")) == "8/4/4"
    assert str(config.bits_or("2/2/2", "8/8/8")) == "2/2/2"
    assert [(p.match, p.weights, p.on_host) for p in config.layers] == [
        ("/head/*", 8, False),
        ("last", None, True),
    ]
    assert config.preprocess is not None
    assert config.preprocess.mean == (1.0, 2.0, 3.0)
    assert config.preprocess.resize == 10


def test_every_mistake_is_told_at_once(tmp_path: Path) -> None:
    path = _write(
        tmp_path,
        'bitz = "8/4/4"\ntarget = 3\nlimit = 0\n[[layer]]\nweights = 3\ncolour = 1\n'
        '[preprocess]\nsize = 4\ncolor = "cmyk"\n',
    )
    with pytest.raises(CompileError) as refused:
        read_config(path)
    messages = " ".join(d.message for d in refused.value.diagnostics)
    for part in (
        "bitz",
        "target",
        "limit",
        "match",
        "layer.weights",
        "layer.colour",
        "size",
        "color",
    ):
        assert part in messages
    assert {d.code for d in refused.value.diagnostics} == {"LB730"}


def test_what_is_no_toml_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CompileError) as refused:
        read_config(_write(tmp_path, "bits = = 8"))
    assert refused.value.diagnostics[0].code == "LB730"


def test_files_beside_the_model_are_used(tmp_path: Path) -> None:
    model = tmp_path / "net.onnx"
    (tmp_path / "net.calib.npz").touch()
    _write(tmp_path, 'bits = "4/4/4"\nweights = "sawb"\n')
    options = settle(model)
    assert options.calib == tmp_path / "net.calib.npz"
    assert (str(options.bits), options.weights) == ("4/4/4", "sawb")
    assert settle(model, bits="2/2/2").bits.first == 2


def test_unknown_methods_are_told_together() -> None:
    with pytest.raises(CompileError) as refused:
        settle(None, clip="best", weights="nice")
    assert [d.found for d in refused.value.diagnostics] == ["best", "nice"]


def test_shapes_name_the_batch() -> None:
    assert parse_shapes(["x=N,3,8", "y=4"]) == {"x": (None, 3, 8), "y": (4,)}


@pytest.mark.parametrize("text", ["x", "x=", "=3", "x=3,,4", "x=-1,2", "x=0"])
def test_other_spellings_of_shapes_are_refused(text: str) -> None:
    with pytest.raises(CompileError) as refused:
        parse_shapes([text])
    assert refused.value.diagnostics[0].code == "LB731"
