"""The demo's network, its data and its program at 8/4/4, for tests of the gate."""

from __future__ import annotations

import functools
import tempfile
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from click.testing import CliRunner, Result

import lowbitc
from lowbitc.cli.main import lowbitc as command

if TYPE_CHECKING:
    from lowbitc.compiler.elements import Float32, Int64


@functools.cache
def digits() -> Path:
    """Return a folder with digits.onnx, digits.lbc and digits.test.npz."""
    folder = Path(tempfile.mkdtemp(prefix="lowbitc-gate-"))
    for part in resources.files("lowbitc").joinpath("demo").iterdir():
        (folder / part.name).write_bytes(part.read_bytes())
    lowbitc.compile(folder / "digits.onnx", bits="8/4/4").save(folder / "digits.lbc")
    return folder


def samples() -> tuple[Float32, Int64]:
    """Return the demo's held-out images and labels."""
    with np.load(digits() / "digits.test.npz") as held:
        return held["x"].astype(np.float32), held["y"].astype(np.int64)


def run_gate(
    *options: str, program: str | Path | None = None, data: str | Path | None = None
) -> Result:
    """Run the command on the demo, or on another program or data."""
    chosen = str(program or digits() / "digits.lbc")
    source = str(data or digits() / "digits.test.npz")
    return CliRunner().invoke(command, ["gate", chosen, "--data", source, *options])
