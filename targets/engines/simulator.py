"""Run a program: launches on an engine, pieces of the CPU in ONNX Runtime, step by step."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING

import numpy as np

from lowbitc.compiler.datasets.stream import (
    InputSpec,
    check_array,
    check_values,
    empty,
    missing_inputs,
)
from lowbitc.compiler.diagnostics import CompileError, Diagnostic, error, raise_errors
from lowbitc.compiler.onnx_session import OnnxSession
from lowbitc.compiler.states import Carry, without_states
from lowbitc.targets.engines.registry import DEFAULT_ENGINE, engine_maker
from lowbitc.targets.engines.samples import Samples, uneven
from lowbitc.targets.program.program import HostStep, Launch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from lowbitc.compiler.elements import Array
    from lowbitc.compiler.onnx_session import Value
    from lowbitc.targets.engines.events import Counts
    from lowbitc.targets.engines.registry import EngineMaker
    from lowbitc.targets.program.program import Port, Program

    Observer = Callable[[int, Mapping[str, Array], Mapping[str, Array]], None]
    """Is told of each launch: the step's index, what went in, and what came out."""

BATCH_BYTES = 1 << 28
"""Bound on the levels of one micro-batch, all values of the largest launch together."""
_MOST_SAMPLES = 64
_LEVEL_BYTES = {"event": 32, "reference": 8}
"""Bytes in which an engine holds a level, where that is not one."""
_WHERE = "the data"


class Simulator:
    """A program that is ready to run any number of times; sessions and kernels are made once."""

    def __init__(
        self,
        program: Program,
        engine: str = DEFAULT_ENGINE,
        *,
        threads: int = 0,
        maker: EngineMaker | None = None,
    ) -> None:
        """Prepare every step for ``threads`` threads (0: all cores).

        ``maker`` runs launches in place of the engine, to look into them. Raises CompileError
        LB740 for an unknown engine, LB191 where ONNX Runtime refuses a piece.
        """
        self.program = program
        self.engine = engine
        make = engine_maker(engine) if maker is None else maker
        self._steps = tuple(
            make(program, step, threads)
            if isinstance(step, Launch)
            else OnnxSession(step.model, threads=threads)
            for step in program.steps
        )
        self._carry = Carry(program.states, _specs(program))
        self.batch = _batch_size(program, _LEVEL_BYTES.get(engine, 1))
        self.seconds = 0.0
        """What all steps took so far on this computer."""
        self.host_seconds = 0.0
        """What of it was spent in pieces that run on the CPU beside the chip."""

    def run(
        self,
        inputs: Mapping[str, Array],
        *,
        counts: Counts | None = None,
        observe: Observer | None = None,
    ) -> dict[str, Array]:
        """Return the model's outputs for n samples, each [n, …], whatever n is.

        Inputs are [n, …] by the model's names: the model's own shape, with n in place of a first
        dimension of 1, else before it; outputs likewise. With ``counts``, the events of every
        layer are added to them. Raises CompileError with all that is wrong with the arrays (LB720
        to LB724, LB741), LB192 where ONNX Runtime fails, LB742 and LB743 where a piece on the CPU
        gives other shapes than it should.

        Where the program has states and none is among the inputs, samples run one after the
        other, and states live on from call to call, until ``reset`` or, where the inputs hold
        ``sequence`` [n], until its number changes.
        """
        states = self.program.states
        if states and not any(state.input in inputs for state in states):
            return self._run_stream(inputs, counts, observe)
        count, arrays = self._checked(inputs)
        # Of equal size: a small one at the end would take nearly as long as a large one.
        parts = -(-count // self.batch)
        runs: list[dict[str, Array]] = []
        for start, end in itertools.pairwise(count * i // parts for i in range(parts + 1)):
            part = {name: array[start:end] for name, array in arrays.items()}
            runs.append(self._run_batch(part, end - start, counts, observe))
        names = [port.name for port in self.program.outputs]
        return {name: _concatenated(name, [run[name] for run in runs]) for name in names}

    def reset(self) -> None:
        """Begin a sequence: states are zeros again."""
        self._carry.reset()

    def _run_stream(
        self, inputs: Mapping[str, Array], counts: Counts | None, observe: Observer | None
    ) -> dict[str, Array]:
        def run(sample: Mapping[str, Array]) -> dict[str, Array]:
            return self.run(sample, counts=counts, observe=observe)

        specs = without_states(_specs(self.program), self.program.states)
        if any(spec.name not in inputs for spec in specs if not spec.optional):
            raise CompileError([missing_inputs(_WHERE, specs, list(inputs))])
        arrays = {name: np.asarray(array) for name, array in inputs.items()}
        runs = list(self._carry.run(arrays, run))
        names = [port.name for port in self.program.outputs]
        return {
            name: _concatenated(name, [np.asarray(found[name]) for found in runs]) for name in names
        }

    # --- inputs ----------------------------------------------------------------------------------

    def _checked(self, inputs: Mapping[str, Array]) -> tuple[int, dict[str, Array]]:
        """Return the number of samples, and the arrays in the model's element types."""
        ports = self.program.inputs
        specs = _specs(self.program)
        found: list[Diagnostic] = []
        if any(spec.name not in inputs for spec in specs):
            found.append(missing_inputs(_WHERE, specs, list(inputs)))
        unknown = sorted(set(inputs) - {p.name for p in ports})
        if unknown:
            allowed = ", ".join(p.name for p in ports)
            found.append(
                error(
                    "LB741",
                    f"the model has no input {unknown[0]}",
                    found=", ".join(unknown),
                    allowed=allowed,
                    hint="name each array like the input it is for",
                )
            )
        arrays = {p.name: np.asarray(inputs[p.name]) for p in ports if p.name in inputs}
        for spec in specs:
            array = arrays.get(spec.name)
            if array is not None and array.ndim:
                found += check_array(_WHERE, spec, array.shape, array.dtype)
            elif array is not None:
                found.append(_no_samples(spec.name))
        counts = {name: len(array) for name, array in arrays.items() if array.ndim}
        if len(set(counts.values())) > 1:
            found.append(
                error(
                    "LB741",
                    "the inputs have different numbers of samples",
                    found=", ".join(f"{name}: {count}" for name, count in counts.items()),
                    hint="give the same number of samples for every input",
                )
            )
        count = max(counts.values(), default=1)
        if not count:
            found.append(empty(_WHERE))
        raise_errors(found)
        for name, array in arrays.items():
            check_values(_WHERE, name, array)
        return count, {p.name: arrays[p.name].astype(p.element, copy=False) for p in ports}

    # --- steps -----------------------------------------------------------------------------------

    def _run_batch(
        self,
        arrays: Mapping[str, Array],
        count: int,
        counts: Counts | None,
        observe: Observer | None,
    ) -> dict[str, Array]:
        program = self.program
        values = {
            name: Samples(name, count, parts=[array] * count)
            for name, array in program.constants.items()
        }
        for port in program.inputs:
            values[port.name] = _enter(port, arrays[port.name], count)
        for index, (step, runner) in enumerate(zip(program.steps, self._steps, strict=True)):
            start = time.perf_counter()
            if isinstance(step, HostStep) and isinstance(runner, OnnxSession):
                values.update(_run_host(step, runner, values, count))
            elif isinstance(step, Launch) and not isinstance(runner, OnnxSession):
                feeds = {name: self._border(step, values[name]) for name in step.inputs}
                made = runner.run(feeds, counts)
                if observe is not None:
                    observe(index, feeds, made)
                values.update((n, Samples(n, count, joined=a)) for n, a in made.items())
            taken = time.perf_counter() - start
            self.seconds += taken
            self.host_seconds += taken if isinstance(step, HostStep) else 0.0
        if counts is not None:
            counts.samples += count
        return {port.name: values[port.name].stacked() for port in program.outputs}

    def _border(self, step: Launch, value: Samples) -> Array:
        """Return what a launch reads, which must have the shape that the program says."""
        shape = step.graph.shape(value.name)
        array = value.joined()
        if array.shape != (shape[0] * value.count, *shape[1:]):
            problem = error(
                "LB742",
                f"the CPU gave {value.name} in another shape than the program says",
                found=str(list(array.shape)),
                allowed=f"{list(shape)} for each of {value.count} samples",
                hint="compile the model again",
            )
            raise CompileError([problem])
        return array


def _specs(program: Program) -> tuple[InputSpec, ...]:
    return tuple(InputSpec(p.name, p.shape or (), p.element) for p in program.inputs)


def _no_samples(name: str) -> Diagnostic:
    return error(
        "LB741",
        f"{name} is a number, not an array of samples",
        found="no dimension",
        allowed="samples along the first dimension",
        hint="give an array of one sample",
    )


def _enter(port: Port, array: Array, count: int) -> Samples:
    """Bring [n, …] into the model's own shape for each sample."""
    shape = port.shape
    if shape is None:
        return Samples(port.name, count, parts=list(array))
    if not shape:
        return Samples(port.name, count, joined=array, scalar=True)
    rows = array if shape[0] == 1 else array.reshape(count * shape[0], *array.shape[2:])
    return Samples(port.name, count, joined=rows)


def _run_host(
    step: HostStep, session: OnnxSession, values: Mapping[str, Samples], count: int
) -> Iterator[tuple[str, Samples]]:
    """Run a piece, once for all samples where that cannot change a bit, else one by one."""
    names = [port.name for port in step.inputs]
    if step.together and count > 1:
        made = session.run({name: values[name].joined() for name in names})
        for name in step.outputs:
            array = made[name]
            if not isinstance(array, np.ndarray) or not array.ndim or len(array) % count:
                problem = error("LB742", f"the CPU gave {name} in another shape than expected")
                raise CompileError([problem])
            yield name, Samples(name, count, joined=array)
        return
    feeds = {name: values[name].parts() for name in names}
    runs = [session.run({name: feeds[name][i] for name in names}) for i in range(count)]
    for name in step.outputs:
        parts: list[Value] = [run[name] for run in runs]
        yield name, Samples(name, count, parts=parts)


def _concatenated(name: str, parts: list[Array]) -> Array:
    """Join the outputs of micro-batches."""
    shapes = sorted({part.shape[1:] for part in parts})
    if len(shapes) > 1:
        raise CompileError([uneven(name, shapes)])
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _batch_size(program: Program, level_bytes: int) -> int:
    """Return how many samples run at once, if no level were ever freed."""
    most = 1
    for launch in program.launches:
        values = [v for v in launch.graph.types if v not in launch.graph.constants]
        most = max(most, level_bytes * sum(launch.graph.tensor(v).size for v in values))
    return max(1, min(_MOST_SAMPLES, BATCH_BYTES // most))
