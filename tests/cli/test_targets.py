"""Commands for another chip than the default: its own bits, modes, and every broken rule."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper

import lowbitc
from lowbitc.cli.main import lowbitc as command

if TYPE_CHECKING:
    from click.testing import Result

DIGITS = Path(lowbitc.__file__).parent / "demo" / "digits.onnx"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(command, [str(a) for a in arguments])


def compiled(*arguments: object) -> dict[str, Any]:
    """Compile the demo's network for akd1000 in the quickest way, and return the summary."""
    quick = ("--target", "akd1000", "--weights", "mse", "--limit", 16, "--format", "json")
    found: dict[str, Any] = json.loads(run("compile", DIGITS, *quick, *arguments).stdout)
    return found


def narrow(path: Path) -> Path:
    """Write a network whose second convolution breaks several rules of akd1000."""
    shapes = {"w0": (4, 1, 3, 3), "w1": (4, 4, 2, 2)}
    weights = [
        numpy_helper.from_array(np.ones(shape, np.float32), name) for name, shape in shapes.items()
    ]
    nodes = [
        helper.make_node("Conv", ["x", "w0"], ["a"], name="first", pads=[1] * 4),
        helper.make_node("Relu", ["a"], ["b"], name="clip"),
        helper.make_node("Conv", ["b", "w1"], ["y"], name="second", strides=[2, 2]),
    ]
    graph = helper.make_graph(
        nodes,
        "narrow",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4, 4, 4])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def test_check_lists_every_rule_that_a_node_breaks_with_what_would_fit(tmp_path: Path) -> None:
    result = run("check", narrow(tmp_path / "narrow.onnx"), "--target", "akd1000")
    assert result.exit_code == 0
    for code, found in (("LB246", "kernel 2x2"), ("LB247", "stride 2x2, kernel 2x2")):
        assert f"{code}: " in result.stdout
        assert found in " ".join(result.stdout.split())
    assert "LB247: use a 3x3 kernel where the stride is 2" in result.stdout


def test_a_chip_has_its_own_bits_where_none_are_asked_for(tmp_path: Path) -> None:
    assert compiled("-o", tmp_path / "x.lbc")["options"]["bits"] == "8/4/4"
    wide = run("compile", DIGITS, "--target", "akd1000", "--bits", "8/8/8")
    assert wide.exit_code == 2
    assert "error[LB285]: akd1000 does not hold weights of 8 bits" in wide.stderr


def test_a_mode_that_gives_the_slowest_layers_more_processors_changes_no_result(
    tmp_path: Path,
) -> None:
    counts: dict[str, int] = {}
    outputs: dict[str, bytes] = {}
    frames = {"x": np.random.default_rng(0).random((4, 1, 8, 8), np.float32)}
    for mode in ("passes", "minimal", "fast"):
        path = tmp_path / f"{mode}.lbc"
        counts[mode] = compiled("--mode", mode, "-o", path)["processors"]
        found = lowbitc.Simulator(lowbitc.load(path), engine="fast", threads=1).run(frames)
        outputs[mode] = b"".join(array.tobytes() for array in found.values())
    assert counts["passes"] == counts["minimal"] < counts["fast"]
    assert len(set(outputs.values())) == 1


def test_an_unknown_mode_is_refused(tmp_path: Path) -> None:
    result = run("compile", DIGITS, "--mode", "best", "-o", tmp_path / "x.lbc")
    assert result.exit_code == 2
    assert "LB731" in result.stderr
    assert "passes, minimal, fast" in result.stderr
