"""Without PyTorch, tuning says what to install, and all else works."""

from __future__ import annotations

import importlib.util
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

import lowbitc
from lowbitc.compiler.diagnostics import CompileError


def test_tuning_without_torch_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    known = importlib.util.find_spec

    def find_spec(name: str, package: str | None = None) -> object:
        return None if name == "torch" else known(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)
    model = Path(str(resources.files("lowbitc").joinpath("demo", "digits.onnx")))
    with pytest.raises(CompileError) as caught:
        lowbitc.tune(model, {"x": np.zeros((1, 1, 8, 8), np.float32)})
    (finding,) = caught.value.diagnostics
    assert finding.code == "LB790"
    assert finding.hint == "pip install 'lowbitc[train]'"
