"""Data sets: what is read, and what is refused with which code."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from lowbitc.compiler.datasets.opening import open_dataset
from lowbitc.compiler.datasets.preprocess import Preprocess
from lowbitc.compiler.datasets.stream import InputSpec
from lowbitc.compiler.diagnostics import CompileError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from lowbitc.compiler.elements import Array

SPEC = InputSpec("image", (1, 3, 4, 4), "float32")


def _refused(source: str | Path | Mapping[str, Array], *specs: InputSpec) -> tuple[str, str]:
    with pytest.raises(CompileError) as refused:
        for _ in open_dataset(source, specs or (SPEC,)).batches(4):
            pass
    first = refused.value.diagnostics[0]
    return first.code, f"{first.message} / {first.found} / {first.allowed}"


def _images(count: int = 10) -> Array:
    return np.random.default_rng(0).normal(0, 1, (count, 3, 4, 4)).astype(np.float32)


@pytest.mark.parametrize("name", ["x", "image"])
def test_an_npz_is_matched_by_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / "data.npz"
    images = _images()
    arrays: dict[str, Array] = {name: images, "y": np.arange(10)}
    np.savez(path, allow_pickle=False, **arrays)
    data = open_dataset(path, (SPEC,))
    assert len(data) == 10
    batches = list(data.batches(4))
    assert [b.size for b in batches] == [4, 4, 2]
    assert np.array_equal(np.concatenate([b.inputs["image"] for b in batches]), images)
    labels = [b.labels for b in batches if b.labels is not None]
    assert np.concatenate(labels).tolist() == list(range(10))


def test_a_batch_can_be_cut(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    np.savez(path, x=_images(), y=np.arange(10))
    batch = next(open_dataset(path, (SPEC,)).batches(8)).first(3)
    assert batch.size == 3
    assert batch.labels is not None
    assert batch.labels.tolist() == [0, 1, 2]


def test_bytes_convert_to_floats_as_they_are() -> None:
    pixels = np.arange(48, dtype=np.uint8).reshape(1, 3, 4, 4)
    (batch,) = open_dataset({"x": pixels}, (SPEC,)).batches(4)
    assert batch.inputs["image"].dtype == np.float32
    assert batch.inputs["image"].max() == 47


def test_a_wrong_name_says_which_are_there(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", picture=_images())
    code, text = _refused(tmp_path / "d.npz")
    assert code == "LB720"
    assert "picture" in text
    assert "image" in text


def test_a_wrong_shape_says_what_is_allowed() -> None:
    code, text = _refused({"x": np.zeros((5, 4, 4, 3), np.float32)})
    assert (code, "4×4×3" in text, "3×4×4" in text) == ("LB721", True, True)


def test_a_wrong_type_is_refused() -> None:
    assert _refused({"x": np.zeros((5, 3, 4, 4), np.complex64)})[0] == "LB722"
    ids = InputSpec("ids", (1, 8), "int64")
    assert _refused({"ids": np.full((2, 8), 1.5)}, ids)[0] == "LB722"


def test_an_empty_set_is_refused() -> None:
    assert _refused({"x": _images(0)})[0] == "LB723"


def test_nan_names_its_sample() -> None:
    images = _images()
    images[7, 0, 0, 0] = np.nan
    code, text = _refused({"x": images})
    assert code == "LB724"
    assert "sample 7" in text


def test_labels_of_another_length_are_refused() -> None:
    assert _refused({"x": _images(), "y": np.arange(9)})[0] == "LB725"


def test_damaged_and_pickled_files_are_refused(tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.npz"
    damaged.write_bytes(b"PK\x03\x04 not really")
    assert _refused(damaged)[0] == "LB726"
    np.savez(tmp_path / "pickled.npz", x=np.array([{"a": 1}], object))
    assert _refused(tmp_path / "pickled.npz")[0] == "LB726"


def test_a_missing_file_is_not_asked_to_be_written_again(tmp_path: Path) -> None:
    code, text = _refused(tmp_path / "missing.npz")
    assert code == "LB726"
    assert "that is there" in text
    assert "savez" not in text


def test_what_is_no_data_set_says_what_is() -> None:
    code, text = _refused("nowhere")
    assert code == "LB727"
    assert "module:function" in text


def test_images_need_a_preprocess_table(tmp_path: Path) -> None:
    assert _refused(tmp_path)[0] == "LB728"


def test_a_folder_of_images_has_a_class_a_subfolder(tmp_path: Path) -> None:
    for label, colour in (("a", (255, 0, 0)), ("b", (0, 0, 255))):
        (tmp_path / label).mkdir()
        Image.new("RGB", (8, 6), colour).save(tmp_path / label / "0.png")
    how = Preprocess(size=(4, 4), color="bgr", mean=(127.0,), scale=(1 / 128,), resize=4)
    (batch,) = open_dataset(tmp_path, (SPEC,), how).batches(4)
    assert batch.labels is not None
    assert batch.labels.tolist() == [0, 1]
    first = batch.inputs["image"][0]
    assert first.shape == (3, 4, 4)
    assert first[2].min() == 1.0
    assert first[0].max() == pytest.approx(-127 / 128)


def test_a_broken_image_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no image")
    with pytest.raises(CompileError, match=r"broken\.png"):
        open_dataset(tmp_path, (SPEC,), Preprocess(size=(4, 4)))


def test_a_function_yields_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_lowbitc_data.py").write_text(
        "import numpy as np\n"
        "def batches():\n"
        "    for i in range(3):\n"
        "        yield {'x': np.full((2, 3, 4, 4), i, np.float32), 'y': np.array([i, i])}\n"
        "def broken():\n"
        "    yield 3\n",
        encoding="utf-8",
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    data = open_dataset("my_lowbitc_data:batches", (SPEC,))
    assert len(data) == 6
    assert [b.size for b in data.batches(4)] == [4, 2]
    assert _refused("my_lowbitc_data:broken")[0] == "LB732"
    assert _refused("my_lowbitc_data:nothing")[0] == "LB732"
    assert _refused("no_such_module_here:f")[0] == "LB732"
