"""``lowbitc explain`` prints the catalogue of codes."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from lowbitc.cli.main import lowbitc
from lowbitc.compiler.codes import CATALOGUE


@pytest.mark.parametrize("code", sorted(CATALOGUE))
def test_every_code_says_what_why_and_what_to_do(code: str) -> None:
    result = CliRunner().invoke(lowbitc, ["explain", code])
    assert result.exit_code == 0
    words = " ".join(result.stdout.split())
    entry = CATALOGUE[code]
    for text in (entry.title, entry.what, entry.why, entry.remedy):
        assert " ".join(text.split()) in words


def test_a_code_may_be_written_in_small_letters() -> None:
    assert CliRunner().invoke(lowbitc, ["explain", "lb900"]).stdout.startswith("LB900: ")


def test_an_unknown_code_is_wrong_use() -> None:
    result = CliRunner().invoke(lowbitc, ["explain", "LB000"])
    assert result.exit_code == 2
    assert "LB000" in result.stderr


def test_all_lists_every_code() -> None:
    lines = CliRunner().invoke(lowbitc, ["explain", "all"]).stdout.splitlines()
    assert {line[:5] for line in lines if line.startswith("LB")} == set(CATALOGUE)


def test_json_holds_the_entry() -> None:
    result = CliRunner().invoke(lowbitc, ["explain", "LB900", "--format", "json"])
    assert json.loads(result.stdout)["title"] == CATALOGUE["LB900"].title
