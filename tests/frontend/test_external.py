"""Weights in other files are mapped, not read, and never taken from outside the model's folder."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from onnx import TensorProto, external_data_helper, helper, numpy_helper

from lowbitc.compiler.execute import FloatSession
from lowbitc.compiler.frontend import import_model
from tests.frontend.models import info, model, node, refusal

if TYPE_CHECKING:
    from pathlib import Path

    from onnx import ModelProto

_W = np.arange(16, dtype=np.float32).reshape(4, 4, 1, 1)


def _external(name: str = "w", **stated: str | int) -> TensorProto:
    tensor = TensorProto(name=name, dims=_W.shape, data_type=TensorProto.FLOAT)
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": "net.data", **stated}.items():
        tensor.external_data.add(key=key, value=str(value))
    return tensor


def _conv(*tensors: TensorProto) -> ModelProto:
    proto = model([node("Conv", "x w", name="conv")])
    proto.graph.initializer.extend(tensors)
    return proto


def _save(folder: Path, proto: ModelProto, data: bytes | None = _W.tobytes()) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "net.onnx"
    path.write_bytes(proto.SerializeToString())
    if data is not None:
        (folder / "net.data").write_bytes(data)
    return path


def test_weights_beside_the_model_are_mapped(tmp_path: Path) -> None:
    path = _save(tmp_path / "m", _conv(_external(offset=8, length=64)), bytes(8) + _W.tobytes())
    graph = import_model(path).graph
    np.testing.assert_array_equal(graph.constants["w"], _W)
    assert not graph.constants["w"].flags.owndata
    assert not graph.constants["w"].flags.writeable


def test_weights_in_a_folder_below_are_found(tmp_path: Path) -> None:
    path = _save(tmp_path, _conv(_external(location="weights/w.bin")), None)
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "w.bin").write_bytes(_W.tobytes())
    np.testing.assert_array_equal(import_model(path).graph.constants["w"], _W)


def test_a_relative_path_to_the_model_is_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _save(tmp_path, _conv(_external()))
    monkeypatch.chdir(tmp_path)
    assert import_model("net.onnx").graph.constants["w"].shape == _W.shape


@pytest.mark.parametrize("location", ["../net.data", "a/../../net.data", "", "/etc/hostname"])
def test_a_location_outside_the_folder_is_refused(tmp_path: Path, location: str) -> None:
    (tmp_path / "net.data").write_bytes(_W.tobytes())
    path = _save(tmp_path / "m", _conv(_external(location=location)), None)
    found = refusal(path)["LB112"]
    assert found.found == location
    assert found.message.startswith("w:")


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege there")
def test_a_link_that_leads_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(_W.tobytes())
    path = _save(tmp_path / "m", _conv(_external()), None)
    (tmp_path / "m" / "net.data").symlink_to(tmp_path / "secret")
    assert set(refusal(path)) == {"LB112"}


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege there")
def test_a_link_inside_the_folder_is_followed(tmp_path: Path) -> None:
    path = _save(tmp_path, _conv(_external()), None)
    (tmp_path / "blob").write_bytes(_W.tobytes())
    (tmp_path / "net.data").symlink_to("blob")
    np.testing.assert_array_equal(import_model(path).graph.constants["w"], _W)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    found = refusal(_save(tmp_path, _conv(_external()), None))["LB113"]
    assert found.found == "net.data"


def test_a_model_without_a_path_cannot_have_external_weights() -> None:
    assert "by its path" in refusal(_conv(_external()))["LB113"].hint


@pytest.mark.parametrize(
    ("stated", "held"),
    [
        ({"length": 60}, 64),
        ({"offset": -4}, 64),
        ({"offset": "many"}, 64),
        ({"length": 64}, 63),
        ({"offset": 4}, 64),
    ],
)
def test_wrong_lengths_say_found_and_needed(
    tmp_path: Path, stated: dict[str, Any], held: int
) -> None:
    found = refusal(_save(tmp_path, _conv(_external(**stated)), bytes(held)))["LB114"]
    assert "bytes" in found.allowed


def test_two_broken_tensors_are_two_findings(tmp_path: Path) -> None:
    broken = [_external(), _external("v", location="gone.data")]
    assert set(refusal(_save(tmp_path, _conv(*broken), bytes(3)))) == {"LB113", "LB114"}


def test_nan_in_external_weights_is_found(tmp_path: Path) -> None:
    weight = _W.copy()
    weight[2, 3] = np.nan
    found = refusal(_save(tmp_path, _conv(_external()), weight.tobytes()))["LB110"]
    assert "[2, 3, 0, 0]" in found.found


def test_an_empty_external_tensor_needs_no_bytes(tmp_path: Path) -> None:
    tensor = _external()
    tensor.dims[:] = [0, 4]
    proto = model([node("Concat", "x w", axis=0)], inputs=[info("x", 2, 4)])
    proto.graph.initializer.append(tensor)
    path = _save(tmp_path, proto, b"")
    assert import_model(path).graph.constants["w"].shape == (0, 4)


def test_packed_external_tensors_are_unpacked(tmp_path: Path) -> None:
    held = helper.make_tensor("w", TensorProto.INT4, [3], [1, -2, 3])
    tensor = TensorProto(name="w", dims=[3], data_type=TensorProto.INT4)
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="net.data")
    proto = model([node("Identity", "w")], opset=21)
    proto.graph.initializer.append(tensor)
    path = _save(tmp_path, proto, bytes(held.int32_data) or held.raw_data)
    assert import_model(path).graph.constants["y"].tolist() == [1, -2, 3]


def test_external_tensors_of_subgraphs_travel_with_their_node(tmp_path: Path) -> None:
    branches: dict[str, Any] = {
        f"{which}_branch": helper.make_graph(
            [node("Conv", "x w", f"{which}_y", name=which)], which, [], [info(f"{which}_y")]
        )
        for which in ("then", "else")
    }
    for graph in branches.values():
        graph.initializer.append(_external())
        graph.output[0].type.tensor_type.ClearField("shape")
    proto = model(
        [node("If", "c", **branches)],
        inputs=[info("c", kind=TensorProto.BOOL), info("x", 1, 4, 2, 2)],
    )
    graph = import_model(_save(tmp_path, proto)).graph
    x = np.ones((1, 4, 2, 2), np.float32)
    found = FloatSession(graph, threads=1).run({"c": np.asarray(1, np.bool_), "x": x})["y"]
    np.testing.assert_array_equal(np.asarray(found)[0, :, 0, 0], _W.sum((1, 2, 3)))


_BIG = """
    import resource, sys
    from lowbitc.compiler.frontend import import_model

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    graph = import_model(sys.argv[1]).graph
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(graph.constants["w"].nbytes, grown)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="sparse files and ru_maxrss in KiB")
@pytest.mark.parametrize(
    ("kind", "width_bytes", "size_bytes"),
    [(TensorProto.INT8, 1, 33 << 26), (TensorProto.FLOAT, 4, 1 << 28)],
    ids=["more than 2 GiB", "screened for NaN"],
)
def test_large_weights_take_no_memory(
    tmp_path: Path, kind: TensorProto.DataType.ValueType, width_bytes: int, size_bytes: int
) -> None:
    tensor = _external()
    tensor.data_type = kind
    tensor.dims[:] = [size_bytes // width_bytes // 1024, 1024]
    row = info("i", 1, kind=TensorProto.INT64)
    proto = model([node("Gather", "w i", name="row")], inputs=[row])
    proto.graph.initializer.append(tensor)
    path = _save(tmp_path, proto, None)
    with (tmp_path / "net.data").open("wb") as file:
        file.truncate(size_bytes)  # the disk holds nothing of it
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(_BIG), str(path)],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    held, grown_kib = (int(word) for word in ran.stdout.split())
    assert held == size_bytes
    assert grown_kib < 100 << 10


def test_tensors_of_one_file_share_one_map(tmp_path: Path) -> None:
    proto = model([node("Conv", "x w", "a", name="c0"), node("Conv", "a v", name="c1")])
    proto.graph.initializer.extend([_external(length=64), _external("v", offset=64)])
    path = _save(tmp_path, proto, _W.tobytes() * 2)
    graph = import_model(path).graph
    places = [graph.constants[name].__array_interface__["data"][0] for name in "wv"]
    assert places[1] - places[0] == 64


def test_what_onnx_saves_with_external_data_is_read(tmp_path: Path) -> None:
    proto = model([node("Conv", "x w")])
    proto.graph.initializer.append(numpy_helper.from_array(np.tile(_W, (1, 1, 16, 16)), "w"))
    del proto.graph.input[:]
    proto.graph.input.append(info("x", 1, 4, 32, 32))
    external_data_helper.convert_model_to_external_data(proto, location="all.data")
    external_data_helper.save_external_data(proto.graph.initializer[0], str(tmp_path))
    (tmp_path / "net.onnx").write_bytes(proto.SerializeToString())
    graph = import_model(tmp_path / "net.onnx").graph
    np.testing.assert_array_equal(graph.constants["w"][:, :, 5, 5], _W[:, :, 0, 0])
