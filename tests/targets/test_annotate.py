"""An annotated model computes what the model does, and says what became of its nodes."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper

import lowbitc
from lowbitc.cli.main import lowbitc as command
from lowbitc.compiler.diagnostics import CompileError
from lowbitc.compiler.frontend.files import read_model
from lowbitc.compiler.onnx_session import OnnxSession
from lowbitc.targets.annotate import PREFIX, annotate, facts_by_node, write_annotated

if TYPE_CHECKING:
    from lowbitc.targets.program import Program

DEMO = Path(str(resources.files("lowbitc").joinpath("demo")))
MODEL = DEMO / "digits.onnx"


@pytest.fixture(scope="module")
def program() -> Program:
    return lowbitc.compile(MODEL, calib=DEMO / "digits.calib.npz", bits="8/2/4", limit=32)


def facts_of(model: onnx.ModelProto) -> dict[str, dict[str, str]]:
    return {
        node.name: {p.key.removeprefix(PREFIX): p.value for p in node.metadata_props}
        for node in model.graph.node
    }


def test_layers_say_bits_scale_device_and_processors(program: Program) -> None:
    found = facts_of(annotate(read_model(MODEL), program, {}))
    convolutions = [name for name, facts in found.items() if facts.get("operator") == "QConv"]
    assert convolutions
    for name in convolutions:
        facts = found[name]
        assert facts["device"] == "lb1, launch 0"
        assert facts["weights"] in {"I8", "I2", "Odd2"}
        assert float(facts["scale"]) > 0
        assert facts["nps"]


def test_every_node_that_a_layer_came_from_is_annotated(program: Program) -> None:
    found = facts_of(annotate(read_model(MODEL), program, {}))
    sources = {s.node for x in program.launches for n in x.graph.nodes for s in n.sources}
    assert sources <= found.keys()
    assert all(found[name] for name in sources)
    assert facts_by_node(program, {}).keys() >= sources


def test_nothing_but_the_metadata_changes(program: Program, tmp_path: Path) -> None:
    out = tmp_path / "annotated.onnx"
    write_annotated(MODEL, program, out, {})
    model = read_model(out)
    onnx.checker.check_model(model, full_check=True)  # pyright: ignore[reportUnknownMemberType]
    for node in model.graph.node:
        del node.metadata_props[:]
    assert model.SerializeToString() == read_model(MODEL).SerializeToString()
    with np.load(DEMO / "digits.test.npz") as held:
        x = np.asarray(held["x"][:1], np.float32)
    before, after = (OnnxSession(path, threads=1) for path in (MODEL, out))
    feeds = {before.inputs[0]: x}
    assert np.array_equal(
        np.asarray(before.run(feeds)[before.outputs[0]]),
        np.asarray(after.run(feeds)[after.outputs[0]]),
    )


def test_annotating_again_replaces_and_keeps_what_others_wrote(program: Program) -> None:
    model = read_model(MODEL)
    entry = model.graph.node[0].metadata_props.add()
    entry.key, entry.value = "mine", "kept"
    once = annotate(model, program, {})
    twice = annotate(once, program, {})
    assert once.SerializeToString() == twice.SerializeToString()
    assert ("mine", "kept") in {(p.key, p.value) for p in twice.graph.node[0].metadata_props}


def test_what_was_measured_is_added_by_layer(program: Program) -> None:
    name = next(n.name for x in program.launches for n in x.graph.nodes if n.op == "QDense")
    found = facts_of(annotate(read_model(MODEL), program, {name: {"blame": "1"}}))
    assert any(facts.get("blame") == "1" for facts in found.values())


def test_a_model_with_tensors_in_files_is_not_written_elsewhere(
    program: Program, tmp_path: Path
) -> None:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1])
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "w.bin"
    value = helper.make_tensor_value_info("w", TensorProto.FLOAT, [1])
    graph = helper.make_graph([], "g", [], [value], [tensor])
    path = tmp_path / "model.onnx"
    path.write_bytes(helper.make_model(graph).SerializeToString())
    (tmp_path / "away").mkdir()
    with pytest.raises(CompileError) as caught:
        write_annotated(path, program, tmp_path / "away" / "out.onnx", {})
    assert caught.value.diagnostics[0].code == "LB773"
    write_annotated(path, program, tmp_path / "out.onnx", {})


def test_compile_and_compare_write_it(tmp_path: Path) -> None:
    calib, out = str(DEMO / "digits.calib.npz"), tmp_path / "a.onnx"
    program = str(tmp_path / "p.lbc")
    options = ["--calib", calib, "--limit", "16", "--threads", "1", "-o", program]
    run = CliRunner().invoke(command, ["compile", str(MODEL), *options, "--annotate", str(out)])
    assert run.exit_code == 0, run.output
    assert any("device" in facts for facts in facts_of(read_model(out)).values())
    options = ["--data", str(DEMO / "digits.test.npz"), "--limit", "4", "--left-out", "0"]
    page = tmp_path / "page.html"
    options += ["--annotate", str(out), "--report", str(page), "--threads", "1"]
    run = CliRunner().invoke(command, ["compare", str(MODEL), program, *options])
    assert run.exit_code == 0, run.output
    assert any("blame" in facts for facts in facts_of(read_model(out)).values())
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    simulate = ["simulate", program, "--data", str(DEMO / "digits.test.npz"), "--limit", "4"]
    run = CliRunner().invoke(command, [*simulate, "--report", str(tmp_path / "no" / "page.html")])
    assert run.exit_code == 3
    assert "LB772" in run.stderr
