"""The pages that are made from the code are what the code says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from docs.generate import PAGES
from lowbitc.compiler.codes import CATALOGUE

ROOT = Path(__file__).parent.parent
FOLDERS = ("cli", "compiler", "passes", "targets", "training", "src/lowbitc")


@pytest.mark.parametrize("name", sorted(PAGES))
def test_a_page_is_not_stale(name: str) -> None:
    written = (ROOT / "docs" / name).read_text(encoding="utf-8")
    assert written == PAGES[name](), "run python docs/generate.py"


def test_every_code_that_is_raised_is_explained() -> None:
    raised: set[str] = set()
    for folder in FOLDERS:
        for path in (ROOT / folder).glob("**/*.py" if "src" not in folder else "*.py"):
            raised |= set(re.findall(r'"(LB\d{3})\b', path.read_text(encoding="utf-8")))
    assert raised <= set(CATALOGUE)


def test_every_code_is_raised_somewhere() -> None:
    raised: set[str] = set()
    for folder in FOLDERS:
        for path in (ROOT / folder).glob("**/*.py" if "src" not in folder else "*.py"):
            if path.parent.name != "codes":
                raised |= set(re.findall(r"\bLB\d{3}\b", path.read_text(encoding="utf-8")))
    assert set(CATALOGUE) <= raised
