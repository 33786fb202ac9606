"""A page shows how a program was trained, from the log of the run."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from lowbitc.cli.main import lowbitc as command
from lowbitc.cli.report.page import draw_page
from lowbitc.compiler.diagnostics import CompileError
from lowbitc.training.records import EpochRecord, read_log, write_log
from tests.report.pages import DATA, program, simulated

if TYPE_CHECKING:
    from pathlib import Path

RECORDS = (
    EpochRecord(0, 0.9, 0.01, part="add_1"),
    EpochRecord(1, 0.5, 0.0, part="add_1"),
    EpochRecord(0, 2.0, 0.01, accuracy=0.25, clip=1.5),
    EpochRecord(1, 1.0, 0.005, accuracy=0.5, clip=1.25),
    EpochRecord(2, 0.25, 0.0, accuracy=0.75, clip=1.125, compression={"dense": 200.0}),
)


def curves(*records: EpochRecord) -> dict[str, str]:
    """Return the path of each curve of a page, by what is said of it."""
    page = draw_page(dataclasses.replace(simulated(), training=records))
    pattern = r'<svg class="training"[^>]*aria-label="([^"]*)">(.*?)</svg>'
    drawn = re.findall(pattern, page, re.DOTALL)
    return {said: re.findall(r'class="curve" d="([^"]*)"', svg)[0] for said, svg in drawn}


def test_each_measure_has_a_curve_that_says_its_ends() -> None:
    assert list(curves(*RECORDS)) == [
        "Loss: 0.9 to 0.25",
        "Labels hit in training: 25.0 % to 75.0 %",
        "Clips, α over its first value, mean: 1.0000 to 1.1250",
        "Learning rate at the end: 1.00e-02 to 0.00e+00",
        "Gradients sent, times smaller: dense: 200.0 to 200.0",
    ]


def test_parts_that_train_one_after_the_other_have_lines_of_their_own() -> None:
    loss = curves(*RECORDS)["Loss: 0.9 to 0.25"]
    assert [line.count("L") for line in loss.split("M")[1:]] == [1, 2]


def test_a_curve_falls_where_its_measure_does() -> None:
    (loss, *_) = curves(*RECORDS[2:]).values()
    heights = [float(y) for y in re.findall(r"[ML][\d.]+ ([\d.]+)", loss)]
    assert heights == sorted(heights)
    assert heights[0] < heights[-1]


def test_a_page_without_training_has_no_curves() -> None:
    assert curves() == {}
    assert "Training" not in draw_page(simulated())


def test_a_log_gives_back_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    write_log(path, RECORDS)
    assert read_log(path) == RECORDS
    assert len(path.read_text().splitlines()) == len(RECORDS)


@pytest.mark.parametrize("text", ["{}", "[1]", "no JSON", '{"epoch": "x"}'])
def test_a_file_that_is_no_log_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "run.jsonl"
    path.write_text(text)
    with pytest.raises(CompileError) as caught:
        read_log(path)
    assert [d.code for d in caught.value.diagnostics] == ["LB789"]


def test_simulate_shows_the_log_that_it_is_given(tmp_path: Path) -> None:
    log, page, path = tmp_path / "run.jsonl", tmp_path / "page.html", tmp_path / "p.lbc"
    write_log(log, RECORDS)
    program().save(path)
    arguments = ["simulate", str(path), "--data", str(DATA), "--limit", "20"]
    found = CliRunner().invoke(
        command, [*arguments, "--report", str(page), "--training-log", str(log)]
    )
    assert found.exit_code == 0, found.output
    assert "Labels hit in training" in page.read_text(encoding="utf-8")
    without = CliRunner().invoke(command, [*arguments, "--training-log", str(log)])
    assert without.exit_code == 2
    assert "--report" in without.output
