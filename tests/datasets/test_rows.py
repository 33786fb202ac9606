"""Arrays in files are read by ranges, checked against their sums, and never held whole."""

from __future__ import annotations

import io
import pickle
import tracemalloc
import zipfile
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowbitc.compiler.datasets.opening import open_dataset
from lowbitc.compiler.datasets.rows import (
    FileRows,
    HeldRows,
    PackedRows,
    archive_rows,
    file_rows,
)
from lowbitc.compiler.datasets.stream import InputSpec
from lowbitc.compiler.diagnostics import CompileError

if TYPE_CHECKING:
    from pathlib import Path

    from lowbitc.compiler.datasets.rows import Rows

SPEC = InputSpec("image", (1, 3, 4, 4), "float32")
X = np.random.default_rng(0).normal(0, 1, (50, 3, 4, 4)).astype(np.float32)
Y = np.arange(50)


@pytest.fixture(scope="module", params=["stored", "packed", "npy", "memory"])
def rows(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Rows:
    folder = tmp_path_factory.mktemp("rows")
    wanted = frozenset({"x"})
    match request.param:
        case "stored":
            np.savez(folder / "d.npz", x=X, y=Y)
            found = archive_rows(folder / "d.npz", wanted)["x"]
            assert isinstance(found, FileRows)
        case "packed":
            np.savez_compressed(folder / "d.npz", x=X, y=Y)
            found = archive_rows(folder / "d.npz", wanted)["x"]
            assert isinstance(found, PackedRows)
        case "npy":
            np.save(folder / "d.npy", X)
            found = file_rows(folder / "d.npy")
        case _:
            found = HeldRows(X)
    return found


@given(spans=st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), max_size=6))
def test_any_range_in_any_order_is_that_of_the_array(
    rows: Rows, spans: list[tuple[int, int]]
) -> None:
    assert (rows.shape, rows.dtype) == (X.shape, X.dtype)
    for one, other in spans:
        start, stop = sorted((one, other))
        assert np.array_equal(rows.read(start, stop), X[start:stop])


def test_rows_travel_to_other_processes(rows: Rows) -> None:
    rows.read(3, 5)
    again: Rows = pickle.loads(pickle.dumps(rows))  # noqa: S301 - our own
    assert np.array_equal(again.read(3, 20), X[3:20])


def test_columns_first_are_turned(tmp_path: Path) -> None:
    turned = np.asfortranarray(X)
    np.savez(tmp_path / "d.npz", x=turned)
    np.save(tmp_path / "d.npy", turned)
    for name in ("d.npz", "d.npy"):
        (batch,) = open_dataset(tmp_path / name, (SPEC,)).batches(50)
        assert np.array_equal(batch.inputs["image"], X)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_memory_does_not_grow_with_the_file(tmp_path: Path, save: object) -> None:
    assert callable(save)
    peaks: list[int] = []
    for count in (200, 4000):
        save(tmp_path / f"{count}.npz", x=np.tile(X, (count // 50, 1, 1, 1)), y=np.zeros(count))
        tracemalloc.start()
        for _ in open_dataset(tmp_path / f"{count}.npz", (SPEC,)).batches(50):
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    small, large = peaks
    # The samples alone grow by 730 kB.
    assert large < small + 200_000


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("where", [0.2, 0.5, 0.8])
def test_a_flipped_bit_is_found_before_a_sample_is_read(
    tmp_path: Path, save: object, where: float
) -> None:
    assert callable(save)
    path = tmp_path / "d.npz"
    save(path, x=X)
    held = bytearray(path.read_bytes())
    held[int(len(held) * where)] ^= 4
    path.write_bytes(bytes(held))
    with pytest.raises(CompileError, match="LB726"):
        open_dataset(path, (SPEC,))


def test_a_file_that_shrinks_meanwhile_is_named(tmp_path: Path) -> None:
    path = tmp_path / "d.npy"
    np.save(path, X)
    dataset = open_dataset(path, (SPEC,))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CompileError, match="LB726"):
        list(dataset.batches(50))


def test_pickled_objects_and_odd_members_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "pickled.npz", x=np.array([{}], object), allow_pickle=True)
    with zipfile.ZipFile(tmp_path / "odd.npz", "w") as archive:
        archive.writestr("x.npy", b"not an array")
    with zipfile.ZipFile(tmp_path / "new.npz", "w") as archive:
        archive.writestr("x.npy", b"\x93NUMPY\x09\x00" + bytes(100))
    for name in ("pickled.npz", "odd.npz", "new.npz"):
        with pytest.raises(CompileError, match="LB726"):
            open_dataset(tmp_path / name, (SPEC,))


def test_an_array_under_another_name_is_not_read(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "d.npz", "w") as archive:
        stream = io.BytesIO()
        np.save(stream, X)
        archive.writestr("image.npy", stream.getvalue())
        archive.writestr("notes.txt", b"anything")
    (batch,) = open_dataset(tmp_path / "d.npz", (SPEC,)).batches(50)
    assert np.array_equal(batch.inputs["image"], X)


@pytest.mark.parametrize(("size", "start", "stop"), [(16, 0, None), (16, 32, None), (7, 7, 30)])
def test_a_range_of_batches_is_that_range(
    tmp_path: Path, size: int, start: int, stop: int | None
) -> None:
    np.savez(tmp_path / "d.npz", x=X, y=Y)
    batches = list(open_dataset(tmp_path / "d.npz", (SPEC,)).batches(size, start, stop))
    assert all(b.size == size for b in batches[:-1])
    labels = np.concatenate([b.labels for b in batches if b.labels is not None])
    assert labels.tolist() == list(range(start, stop or 50))
