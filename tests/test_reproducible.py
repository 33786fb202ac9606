"""Same model, data and options: the same bytes, whatever the hash seed and the threads."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from importlib import resources
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_COMPILE = """
import sys
import lowbitc
model, output, bits, threads = sys.argv[1:]
lowbitc.compile(model, bits=bits, threads=int(threads)).save(output)
"""


def _digest(folder: Path, bits: str, seed: int, threads: int) -> str:
    output = folder / f"{seed}.lbc"
    environment = {
        **os.environ,
        "PYTHONHASHSEED": str(seed),
        "OMP_NUM_THREADS": str(threads),
        "OPENBLAS_NUM_THREADS": str(threads),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    model = str(folder / "digits.onnx")
    command = [sys.executable, "-c", _COMPILE, model, str(output), bits, str(threads)]
    subprocess.run(command, check=True, env=environment)
    return hashlib.sha256(output.read_bytes()).hexdigest()


def test_two_processes_write_the_same_program(tmp_path: Path) -> None:
    for part in resources.files("lowbitc").joinpath("demo").iterdir():
        (tmp_path / part.name).write_bytes(part.read_bytes())
    for bits in ("8/8/8", "8/2/2"):
        first = _digest(tmp_path, bits, seed=1, threads=1)
        second = _digest(tmp_path, bits, seed=4711, threads=2)
        assert first == second
