"""Compile a model, run it on every engine and in ONNX Runtime, and compare."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lowbitc.compilation import compile_with
from lowbitc.compiler.onnx_session import OnnxSession
from lowbitc.options import settle
from lowbitc.targets.engines.events import Counts
from lowbitc.targets.engines.registry import ENGINES
from lowbitc.targets.engines.simulator import Simulator

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt
    import onnx

    from lowbitc.targets.program.program import Program

    Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Outcome:
    """A program, and its outputs beside those of the float model, by name."""

    program: Program
    wanted: Mapping[str, Array]
    found: Mapping[str, Array]

    def decibels(self, output: str) -> float:
        a, b = (np.asarray(held[output], np.float64) for held in (self.wanted, self.found))
        assert a.shape == b.shape
        noise = np.square(a - b).sum()
        return float(10 * np.log10(np.square(a).sum() / noise)) if noise else np.inf

    @property
    def reasons(self) -> dict[str, str]:
        """The code of the reason of each operator on the CPU."""
        nodes = [node for step in self.program.host_steps for node in step.nodes]
        return {node.op: node.reason.partition(":")[0] for node in nodes}


def outcome(
    model: onnx.ModelProto,
    bits: str,
    inputs: Mapping[str, Array],
    shapes: Sequence[str] = (),
) -> Outcome:
    """Compile on samples [n, …], and run the same samples; all engines must agree.

    They agree in every bit and every count.
    """
    options = settle(None, calib=dict(inputs), bits=bits, shapes=shapes, threads=1, offload="all")
    program = compile_with(model, options).program
    counts = {name: Counts() for name in ENGINES}
    runs = {
        name: Simulator(program, name, threads=1).run(inputs, counts=counts[name])
        for name in ENGINES
    }
    first = runs["reference"]
    for engine, run in runs.items():
        assert counts[engine] == counts["reference"]
        for name, array in first.items():
            assert run[name].dtype == array.dtype
            assert np.array_equal(run[name], array)
    return Outcome(program, run_float(model, program, inputs), first)


def run_float(
    model: onnx.ModelProto, program: Program, inputs: Mapping[str, Array]
) -> dict[str, Array]:
    """Run single samples in ONNX Runtime, and join them as a simulator does."""
    session = OnnxSession(model.SerializeToString(), threads=1)
    ports = {port.name: port.shape or () for port in program.inputs}
    count = len(next(iter(inputs.values())))
    runs = [
        session.run({k: v[i : i + 1].reshape(ports[k]) for k, v in inputs.items()})
        for i in range(count)
    ]
    joined: dict[str, Array] = {}
    for port in program.outputs:
        parts = [np.asarray(run[port.name]) for run in runs]
        batched = parts[0].ndim > 0 and parts[0].shape[0] == 1
        joined[port.name] = np.concatenate(parts) if batched else np.stack(parts)
    return joined


def smooth(count: int, *shape: int, seed: int = 3) -> Array:
    """Return random inputs whose neighbours are alike."""
    x = np.random.default_rng(seed).normal(0, 1, (count, *shape))
    if len(shape) > 1:
        x = (x + np.roll(x, 1, -1) + np.roll(x, 1, -2)) / 1.7
    return x.astype(np.float32)
