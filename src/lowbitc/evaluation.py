"""Measure a range of samples: the program, the float network beside it, and the data itself.

Samples are read in groups on a fixed grid, so that neither the program nor the float network sees
another batch when the data is split another way; what comes out is added up exactly.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lowbitc.compilation import input_specs
from lowbitc.compiler.datasets.opening import open_dataset
from lowbitc.compiler.datasets.preprocess import Preprocess
from lowbitc.compiler.datasets.stream import Batch, InputSpec
from lowbitc.compiler.diagnostics import CompileError, error
from lowbitc.compiler.execute import FloatSession
from lowbitc.compiler.frontend import import_model
from lowbitc.compiler.metrics.metric import Scored, matrix
from lowbitc.compiler.metrics.naming import default_metrics, parse_metrics
from lowbitc.compiler.metrics.tally import Tally, merged, tally
from lowbitc.compiler.states import Carry, without_states
from lowbitc.input_ranges import InputRange, input_ranges, seen
from lowbitc.targets.engines.events import Counts
from lowbitc.targets.engines.simulator import Simulator
from lowbitc.targets.engines.sum_counts import sum_counts
from lowbitc.targets.program.codec import decode
from lowbitc.targets.program.load import load_program

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from lowbitc.compiler.datasets.opening import DataSource
    from lowbitc.compiler.datasets.stream import Dataset
    from lowbitc.compiler.elements import Array
    from lowbitc.compiler.metrics.metric import Metric
    from lowbitc.targets.program.program import Program

_GROUP = 64
"""Most samples of a group."""
_GROUP_BYTES = 1 << 25
"""Most bytes of a group's inputs, if it has more than one sample."""
_FLOAT_BATCH = 16
_HELD_PARTS = 16
_DIGEST_BITS = 256
_MARK_BYTES = 8


@dataclass(frozen=True, slots=True)
class Work:
    """What is measured, on which data; it travels to other processes as it is.

    ``metrics`` are spelled as in docs/gate.md; none stands for top-1 and top-5 where the data has
    labels. ``reference`` is the float model; ``examine`` asks for the data's digest and ranges.
    """

    program: bytes
    data: DataSource
    metrics: tuple[str, ...]
    engine: str
    threads: int = 0
    reference: str | None = None
    keep_outputs: bool = False
    examine: bool = False


def _no_tallies() -> dict[str, Tally]:
    return {}


def _no_ranges() -> dict[str, InputRange]:
    return {}


@dataclass(frozen=True, slots=True)
class Part:
    """What was measured on some samples.

    ``digest`` is the sum of a hash of every sample and its index, modulo 2²⁵⁶; ``marks`` holds
    eight bytes of every sample's own hash [n], in the order of the samples.
    """

    start: int = 0
    samples: int = 0
    tallies: Mapping[str, Tally] = field(default_factory=_no_tallies)
    counts: Counts = field(default_factory=Counts)
    digest: int = 0
    marks: bytes = b""
    ranges: Mapping[str, InputRange] = field(default_factory=_no_ranges)
    seconds: float = 0.0
    host_seconds: float = 0.0
    outputs: Mapping[str, Array] | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """A program and its data, opened: how many samples there are, and how many are a group."""

    program: Program
    dataset: Dataset
    metrics: tuple[Metric, ...]
    group: int

    @property
    def samples(self) -> int:
        """Number of samples of the data set."""
        return len(self.dataset)


def plan(work: Work, program: Program | None = None) -> Plan:
    """Open what the work names, without running anything; the program may be loaded already.

    Raises CompileError for what cannot be read or does not fit together.
    """
    held = load_program(work.program) if program is None else program
    specs = [InputSpec(p.name, p.shape or (), p.element) for p in held.inputs]
    dataset = open_dataset(work.data, without_states(specs, held.states), preprocess_of(held))
    return Plan(held, dataset, parse_metrics(work.metrics), _group_size(specs))


class Evaluator:
    """A program, perhaps a float network, and a data set, ready to measure any range of samples."""

    def __init__(self, work: Work, planned: Plan | None = None) -> None:
        """Prepare to run; raises CompileError for what cannot be read or does not fit."""
        held = plan(work) if planned is None else planned
        self._plan = held
        self._work = work
        self._simulator = Simulator(held.program, work.engine, threads=work.threads)
        self._float = None if work.reference is None else _Reference(held.program, work)
        fed = {state.input for state in held.program.states}
        ranges = input_ranges(held.program)
        self._ranges = {name: held for name, held in ranges.items() if name not in fed}

    def run(self, start: int, stop: int) -> Part:
        """Measure samples from ``start``, a whole number of groups, up to ``stop``."""
        return merged_parts(
            self._measure(batch, at)
            for at, batch in _placed(
                self._plan.dataset.batches(self._plan.group, start, stop), start
            )
        )

    def _measure(self, batch: Batch, start: int) -> Part:
        counts = Counts()
        began, host_began = time.perf_counter(), self._simulator.host_seconds
        outputs = self._simulator.run(batch.inputs, counts=counts)
        seconds = time.perf_counter() - began
        reference = None if self._float is None else self._float.outputs(batch, outputs)
        scored = Scored(outputs, batch.labels, reference)
        digests = _sample_digests(batch) if self._work.examine else []
        return Part(
            start=start,
            samples=batch.size,
            tallies={m.name: tally(m, scored) for m in self._wanted(batch, outputs)},
            counts=counts,
            digest=sum(_placed_digest(start + i, d) for i, d in enumerate(digests)),
            marks=b"".join(d[:_MARK_BYTES] for d in digests),
            ranges=seen(self._ranges, batch.inputs) if self._work.examine else {},
            seconds=seconds,
            host_seconds=self._simulator.host_seconds - host_began,
            outputs=outputs if self._work.keep_outputs else None,
        )

    def _wanted(self, batch: Batch, outputs: Mapping[str, Array]) -> Sequence[Metric]:
        if self._plan.metrics or batch.labels is None:
            return self._plan.metrics
        return default_metrics(matrix(outputs[self._plan.program.outputs[0].name]).shape[-1])


class _Reference:
    """The float network that a program was made from."""

    def __init__(self, program: Program, work: Work) -> None:
        shapes = {port.name: tuple(port.shape or ()) for port in program.inputs}
        self.graph = import_model(Path(work.reference or ""), shapes=shapes).graph
        mine = {p.name: tuple(p.shape or ()) for p in program.inputs}
        theirs = {spec.name: spec.shape for spec in input_specs(self.graph)}
        outputs = {p.name for p in program.outputs}
        if mine != theirs or outputs != set(self.graph.outputs):
            raise CompileError(
                [
                    error(
                        "LB757",
                        f"{work.reference} is not the model that the program was made from",
                        found=f"inputs {theirs}, outputs {', '.join(self.graph.outputs)}",
                        allowed=f"inputs {mine}, outputs {', '.join(sorted(outputs))}",
                        hint="give the ONNX model that was compiled",
                    )
                ]
            )
        self._session = FloatSession(self.graph, threads=work.threads, fast=True)
        self._carry = Carry(program.states, input_specs(self.graph))

    def _run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        shapes = {name: self.graph.shape(name) for name in inputs}
        return self._session.arrays(
            {
                name: np.reshape(array, (-1, *shapes[name][1:])) if shapes[name] else array
                for name, array in inputs.items()
            }
        )

    def outputs(self, batch: Batch, like: Mapping[str, Array]) -> dict[str, Array]:
        """Return the outputs [n, …], in the shapes of the program's."""
        runs: list[Mapping[str, Array]] = []
        if self._carry.states:
            runs += self._carry.run(batch.inputs, self._run)
        else:
            for first in range(0, batch.size, _FLOAT_BATCH):
                runs.append(self._run(batch.behind(first).first(_FLOAT_BATCH).inputs))
        found = {name: np.concatenate([run[name] for run in runs]) for name in like}
        for name, array in found.items():
            if array.size != like[name].size:
                raise CompileError(
                    [
                        error(
                            "LB757",
                            f"{name} has another size from the float model",
                            found=f"{array.shape} for {batch.size} samples",
                            allowed=str(like[name].shape),
                            hint="give the ONNX model that was compiled",
                        )
                    ]
                )
        return {name: array.reshape(like[name].shape) for name, array in found.items()}


def merged_parts(parts: Iterable[Part]) -> Part:
    """Add parts up; outputs and marks are joined in the order of the samples."""
    held: list[Part] = []
    for part in parts:
        held.append(part)
        # So that memory does not grow with the number of parts, where they come one by one.
        if len(held) == _HELD_PARTS and _adjoin(held):
            held = [_merged(held)]
    return _merged(sorted(held, key=lambda part: part.start))


def _adjoin(parts: Sequence[Part]) -> bool:
    """Say whether parts follow one another, without outputs that would be copied each time."""
    follows = all(a.start + a.samples == b.start for a, b in itertools.pairwise(parts))
    return follows and all(part.outputs is None for part in parts)


def _merged(held: Sequence[Part]) -> Part:
    names = sorted({name for part in held for name in part.tallies})
    inputs = sorted({name for part in held for name in part.ranges})
    kept = [part.outputs for part in held if part.outputs is not None]
    return Part(
        start=held[0].start if held else 0,
        samples=sum(part.samples for part in held),
        tallies={n: merged(p.tallies[n] for p in held if n in p.tallies) for n in names},
        counts=sum_counts(part.counts for part in held),
        digest=sum(part.digest for part in held) % (1 << _DIGEST_BITS),
        marks=b"".join(part.marks for part in held),
        ranges={
            n: InputRange.together([p.ranges[n] for p in held if n in p.ranges]) for n in inputs
        },
        seconds=math.fsum(part.seconds for part in held),
        host_seconds=math.fsum(part.host_seconds for part in held),
        outputs={n: np.concatenate([o[n] for o in kept]) for n in kept[0]} if kept else None,
    )


def digest_text(part: Part) -> str:
    """Return the digest of the data in hexadecimal."""
    return f"{part.digest:064x}"


def repeats(part: Part) -> int:
    """Return how many samples are the same as one before them."""
    marks = np.frombuffer(part.marks, np.uint64)
    return len(marks) - len(np.unique(marks))


def holds(part: Part, sample: Mapping[str, Array]) -> bool:
    """Say whether a sample, given as the model's inputs [sample…], is among those measured."""
    (mark,) = input_marks(Batch({name: array[None] for name, array in sample.items()}, None))
    wanted = np.frombuffer(mark, np.uint64)
    return bool((np.frombuffer(part.marks, np.uint64) == wanted).any())


def input_marks(batch: Batch) -> list[bytes]:
    """Return the mark of each sample's inputs, as ``Part`` holds them."""
    return [_input_digest(batch.inputs, i)[:_MARK_BYTES] for i in range(batch.size)]


def preprocess_of(program: Program) -> Preprocess | None:
    """Return how images become the program's input, as it was when it was compiled."""
    held = program.preprocess
    return None if held is None else decode(Preprocess, held, "preprocess")


def _group_size(specs: Sequence[InputSpec]) -> int:
    """Return how many samples are read at once, from the inputs' size alone: a power of two."""
    size = sum(math.prod(s.sample_shape) * np.dtype(s.dtype).itemsize for s in specs)
    fits = max(_GROUP_BYTES // max(size, 1), 1)
    return min(_GROUP, 1 << (fits.bit_length() - 1))


def _placed(batches: Iterator[Batch], start: int) -> Iterator[tuple[int, Batch]]:
    """Yield batches with the index of their first sample."""
    for batch in batches:
        yield start, batch
        start += batch.size


def _sample_digests(batch: Batch) -> list[bytes]:
    """Return a hash of each sample's inputs, and of its label behind the first eight bytes."""
    inputs = [_input_digest(batch.inputs, i) for i in range(batch.size)]
    if batch.labels is None:
        return inputs
    labels = batch.labels
    if labels.dtype.kind in "iub":
        labels = labels.astype("<i8")
    elif labels.dtype.kind in "US":
        return [d + repr(labels[i].tolist()).encode() for i, d in enumerate(inputs)]
    return [d + np.ascontiguousarray(labels[i]).tobytes() for i, d in enumerate(inputs)]


def _input_digest(inputs: Mapping[str, Array], index: int) -> bytes:
    found = hashlib.sha256()
    for name in sorted(inputs):
        found.update(name.encode() + b"\0")
        array = inputs[name][index]
        found.update(np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<"))).tobytes())
    return found.digest()


def _placed_digest(index: int, digest: bytes) -> int:
    return int.from_bytes(hashlib.sha256(index.to_bytes(8, "little") + digest).digest(), "little")
