"""Files that are no model are told apart from files that are a damaged one."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from lowbitc.compiler.frontend import import_model
from tests.frontend.models import info, model, node, refusal

if TYPE_CHECKING:
    from pathlib import Path

_RELU = model([node("Relu", "x")], inputs=[info("x", 1, 8)]).SerializeToString()


@pytest.mark.parametrize(
    ("content", "kind", "hint"),
    [
        (b"", "an empty file", "again"),
        (b"<!DOCTYPE html><html>", "a web page", "file itself"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1", "Git LFS", "git lfs pull"),
        (b"PK\x03\x04rest", "a zip archive", "unpack"),
        (b"\x1f\x8brest", "a gzip archive", "unpack"),
        (b"\x89HDF\r\n\x1a\n", "HDF5", "tf2onnx"),
        (b"\x80\x02}q\x00.", "a pickle", "torch.onnx.export"),
        (b"\x1c\x00\x00\x00TFL3rest", "TensorFlow Lite", "tf2onnx"),
        (b"def forward(self, x):\n    return x\n", "plain text", "export"),
        (b"\xff\xfe\x00\x01\x02", "unknown binary data", "export"),
    ],
)
def test_another_kind_of_file_is_named(
    tmp_path: Path, content: bytes, kind: str, hint: str
) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(content)
    found = refusal(path)["LB102"]
    assert kind in found.found
    assert hint in found.hint
    assert str(path) in found.message


@pytest.mark.parametrize("kept", [0.3, 0.6, 0.95])
def test_a_model_that_was_cut_short_says_how_much_is_missing(tmp_path: Path, kept: float) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(_RELU[: int(len(_RELU) * kept)])
    found = refusal(path)["LB103"]
    assert "cut short" in found.message
    assert found.found == f"{int(len(_RELU) * kept):,} bytes"
    assert found.allowed.startswith("at least ")


def test_a_model_with_a_broken_byte_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(_RELU.replace(b"net", b"n\xfft"))
    assert set(refusal(path)) == {"LB103"}


def test_protobuf_without_a_graph_is_no_model(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(b"\x08\x08\x12\x07backend")
    assert "no graph" in refusal(path)["LB102"].message


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert "absent.onnx" in refusal(tmp_path / "absent.onnx")["LB101"].message


def test_a_folder_names_the_models_in_it(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(_RELU)
    assert "net.onnx" in refusal(tmp_path)["LB101"].hint


@pytest.mark.skipif(os.name == "nt", reason="a folder as a file is another error there")
def test_a_path_through_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(_RELU)
    assert set(refusal(tmp_path / "net.onnx" / "inner.onnx")) == {"LB101"}


def test_a_path_may_be_a_string(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(_RELU)
    assert import_model(str(path)).graph.outputs == ("y",)
