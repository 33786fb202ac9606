"""Peak memory of gating few and many samples, and what processes gain, as ratios.

    python benchmarks/large_data.py PROGRAM.lbc DATA.npz [--reference MODEL.onnx]

Each run is a process of its own with one thread; the verdicts are compared to the bit.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

_PEAK = """
import resource, sys
from lowbitc.__main__ import main
try:
    main()
finally:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)
"""


@dataclass(frozen=True, slots=True)
class Run:
    """A run of the gate: its seconds, its peak memory, and what it found."""

    seconds: float
    peak_mib: float
    found: object


def _gate(options: list[str], limit: int, jobs: int) -> Run:
    arguments = [*options, "--limit", str(limit), "--jobs", str(jobs), "--format", "json"]
    start = time.perf_counter()
    done = subprocess.run(  # noqa: S603 - our own
        [sys.executable, "-c", _PEAK, "gate", *arguments, "--threads", str(jobs)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    )
    seconds = time.perf_counter() - start
    if done.returncode not in {0, 1}:
        sys.exit(done.stderr)
    return Run(seconds, int(done.stderr.split()[-1]) / 1024, json.loads(done.stdout))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--reference", type=Path)
    parser.add_argument("--engine", default="fast")
    parser.add_argument("--few", type=int, default=500)
    parser.add_argument("--many", type=int, default=10_000)
    given = parser.parse_args()
    options = [str(given.program), "--data", str(given.data), "--min", "0.5"]
    options += ["--engine", given.engine]
    if given.reference is not None:
        options += ["--reference", str(given.reference), "--max-drop", "0.1"]
    few, many = (_gate(options, count, 1) for count in (given.few, given.many))
    print(f"file            {given.data.stat().st_size / 2**20:.0f} MiB")
    print(f"peak of {given.few:6,}  {few.peak_mib:.1f} MiB")
    ratio = many.peak_mib / few.peak_mib
    print(f"peak of {given.many:6,}  {many.peak_mib:.1f} MiB: {ratio:.3f} times")
    two = _gate(options, given.many, 2)
    same = "the same result" if two.found == many.found else "ANOTHER RESULT"
    print(f"--jobs 2        {many.seconds / two.seconds:.2f} times as fast, {same}")


if __name__ == "__main__":
    main()
