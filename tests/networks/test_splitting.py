"""Networks that are split: what `check` promises is what a program holds."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from lowbitc.checking import check
from lowbitc.cli.main import lowbitc
from lowbitc.compilation import compile_with
from lowbitc.options import settle
from lowbitc.targets.crossing import crossings
from lowbitc.targets.shares import device_shares
from tests.networks.zoo import CASES

if TYPE_CHECKING:
    from pathlib import Path

SPLIT = ("transformer", "read_lines", "windows_of_sound", "unrolled_cell", "detector")


@pytest.mark.parametrize("offload", ["paying", "all"])
@pytest.mark.parametrize("name", SPLIT)
def test_a_program_holds_what_check_has_promised(name: str, offload: str) -> None:
    case = CASES[name]()
    found = check(case.model, shapes=case.shapes, offload=offload)
    inputs = {k: v[:2] for k, v in case.inputs.items()}
    options = settle(
        None, calib=inputs, bits="8/8/8", shapes=case.shapes, threads=1, offload=offload
    )
    shares = device_shares(compile_with(case.model, options).program)
    assert shares.launches == shares.launch_bound == found.launches
    assert shares.crossing_bytes == found.crossing_bytes
    assert shares.mac_share == pytest.approx(found.mac_share)


@pytest.mark.parametrize("name", SPLIT)
def test_what_does_not_pay_saves_launches(name: str) -> None:
    case = CASES[name]()
    paying, every = (
        check(case.model, shapes=case.shapes, offload=offload) for offload in ("paying", "all")
    )
    assert 1 <= paying.launches <= every.launches
    assert paying.mac_share <= every.mac_share


def test_an_unrolled_recurrence_is_recognised_and_its_projections_share_a_launch() -> None:
    case = CASES["unrolled_cell"]()
    found = check(case.model, shapes=case.shapes)
    assert found.launches == 1
    codes = {node.reason[:5] for node in found.nodes if node.macs and not node.on_chip}
    assert codes <= {"LB250", "LB251"}


def test_borders_have_their_calibrated_scales() -> None:
    case = CASES["read_lines"]()
    options = settle(None, calib=dict(case.inputs), bits="8/4/4", shapes=case.shapes, threads=1)
    borders = crossings(compile_with(case.model, options).program)
    assert {b.inward for b in borders} == {True, False}
    assert all(scale > 0 for border in borders for scale in border.scale)


def test_partition_shows_each_node_as_a_table_as_json_and_as_a_drawing(tmp_path: Path) -> None:
    case = CASES["read_lines"]()
    path = tmp_path / "net.onnx"
    path.write_bytes(case.model.SerializeToString())
    shapes = [part for shape in case.shapes for part in ("--shape", shape)]

    def run(*more: str) -> str:
        result = CliRunner().invoke(lowbitc, ["partition", str(path), *shapes, *more])
        assert result.exit_code == 0, result.output
        return result.stdout

    found = json.loads(run("--format", "json"))
    names = {node["name"] for node in found["nodes"]}
    assert found["device"]["launches"] == len(
        {node["launch"] for node in found["nodes"] if node["on_chip"]}
    )
    assert (
        sum(node["crossing_bytes"] for node in found["nodes"])
        == (found["device"]["crossing_bytes"])
    )
    table, drawing = run(), run("--format", "dot")
    assert all(name in table for name in names)
    assert "LB200" in table
    assert drawing.startswith("digraph partition {")
    assert drawing.rstrip().endswith("}")
    assert drawing.count("[label=") == len(names) + len(case.inputs)
