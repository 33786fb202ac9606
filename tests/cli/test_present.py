"""Results are shown plainly where no person looks, and as the same JSON every time."""

from __future__ import annotations

import enum
import io
import json
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
import pytest

from lowbitc.cli.present import Column, Table, canonical_json, console, show_pairs, show_table


class Kind(enum.Enum):
    GOOD = "good"


@dataclass(frozen=True)
class Record:
    kind: Kind
    values: tuple[float, ...]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_table_in_a_pipe_is_never_cut_and_has_no_blanks_at_the_end(
    capsys: pytest.CaptureFixture[str],
) -> None:
    long = "/very/long/name" * 40
    show_table(Table((Column("name"), Column("bits", "right")), ((long, "4"), ("b", "16"))))
    lines = capsys.readouterr().out.splitlines()
    assert lines[2] == f"{long}      4"
    assert all(line == line.rstrip() for line in lines)


def test_pairs_are_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    show_pairs({"a": "1", "long": "2"})
    assert capsys.readouterr().out == "a     1\nlong  2\n"


def test_text_has_no_colour_when_it_goes_to_a_file() -> None:
    stream = io.StringIO()
    console(stream).print("x", style="bold red")
    assert stream.getvalue() == "x\n"


def test_no_color_is_obeyed_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    stream = Terminal()
    console(stream).print("x", style="bold red")
    assert stream.getvalue() == "x\n"


def test_a_terminal_has_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    stream = Terminal()
    console(stream).print("x", style="bold red")
    assert "\x1b[" in stream.getvalue()


def test_json_is_the_same_whatever_the_order_of_keys() -> None:
    assert canonical_json({"b": 1, "a": 2}) == canonical_json({"a": 2, "b": 1})


def test_json_spells_records_enumerations_arrays_sets_and_paths() -> None:
    value = {
        "record": Record(Kind.GOOD, (1.5, np.float64(2.0))),
        "array": np.arange(3),
        "set": {"b", "a"},
        "path": PurePosixPath("a/b"),
        "flag": True,
        "none": None,
    }
    assert json.loads(canonical_json(value)) == {
        "record": {"kind": "good", "values": [1.5, 2.0]},
        "array": [0, 1, 2],
        "set": ["a", "b"],
        "path": "a/b",
        "flag": True,
        "none": None,
    }


def test_json_refuses_nan() -> None:
    with pytest.raises(ValueError, match="JSON"):
        canonical_json({"accuracy": float("nan")})
