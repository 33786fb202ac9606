"""Run programs on every engine: bits and counts must be equal; events a second are printed.

    python benchmarks/events.py DATA.npz PROGRAM.lbc [PROGRAM.lbc ...] [--limit N]

Without --limit, 100 samples. DATA may be ``random``: normal values of the input's shape. Seconds
are of CPU time on one thread, with counting.
"""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

import numpy as np

from lowbitc.simulation import load
from lowbitc.targets.engines.events import Counts
from lowbitc.targets.engines.registry import ENGINES
from lowbitc.targets.engines.simulator import Simulator

if TYPE_CHECKING:
    from lowbitc.compiler.elements import Array
    from lowbitc.targets.program.program import Program


def samples(program: Program, data: str, limit: int) -> dict[str, Array]:
    """Return arrays for the program's inputs."""
    if data == "random":
        random = np.random.default_rng(0)
        shapes = {p.name: (limit, *(p.sample_shape or ())) for p in program.inputs}
        return {n: random.normal(0, 1, s).astype(np.float32) for n, s in shapes.items()}
    held = np.load(data)
    names = [name for name in held.files if name != "y"]
    return {p.name: held[n][:limit] for p, n in zip(program.inputs, names, strict=False)}


def main() -> None:
    """Print a row for each program and engine."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data")
    parser.add_argument("programs", nargs="+")
    parser.add_argument("--limit", type=int, default=100)
    given = parser.parse_args()
    print("| program | engine | seconds | events/s | operations/s | bits | counts |")
    print("|---|---|---:|---:|---:|---|---|")
    for path in given.programs:
        program = load(path)
        inputs = samples(program, given.data, given.limit)
        first: tuple[dict[str, Array], Counts] | None = None
        for engine in sorted(ENGINES, reverse=True):
            simulator, counts = Simulator(program, engine, threads=1), Counts()
            start = time.process_time()
            outputs = simulator.run(inputs, counts=counts)
            seconds = time.process_time() - start
            first = first or (outputs, counts)
            same = all(np.array_equal(first[0][n], a) for n, a in outputs.items())
            events = sum(layer.events for layer in counts.layers.values())
            operations = sum(layer.synaptic_ops for layer in counts.layers.values())
            print(
                f"| {path} | {engine} | {seconds:.2f} | {events / seconds:,.0f} "
                f"| {operations / seconds:,.0f} | {'equal' if same else 'DIFFER'} "
                f"| {'equal' if counts == first[1] else 'DIFFER'} |"
            )


if __name__ == "__main__":
    main()
