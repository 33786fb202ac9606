"""A chip is a TOML file and at most one file of rules, and all else works with it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import lowbitc
from lowbitc.targets.engines.simulator import Simulator
from lowbitc.targets.registry import TARGETS, load_target

ROOT = Path(__file__).parents[2]
DIGITS = Path(lowbitc.__file__).parent / "demo" / "digits.onnx"


def test_a_chip_is_described_in_less_than_150_lines() -> None:
    files = [p for p in (ROOT / "targets" / "northpole").iterdir() if p.suffix in {".py", ".toml"}]
    assert len(files) == 3
    assert sum(len(p.read_text(encoding="utf-8").splitlines()) for p in files) < 150
    assert "northpole" in TARGETS


def test_a_network_compiles_for_every_chip_and_runs_the_same_on_both_engines() -> None:
    frames = np.random.default_rng(0).random((5, 1, 8, 8), np.float32)
    for target in TARGETS:
        program = lowbitc.compile(
            DIGITS, target=target, bits="8/4/4", calib={"x": frames}, weights="mse"
        )
        data = {"x": frames}
        wanted = Simulator(program, "reference").run(data)
        found = Simulator(program, "fast", threads=1).run(data)
        assert all(np.array_equal(found[name], array) for name, array in wanted.items())
        assert program.target == load_target(target).name
        assert program.launches
