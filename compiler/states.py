"""States of streaming networks: outputs that are inputs of the next sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lowbitc.compiler.datasets.stream import Batch, InputSpec
from lowbitc.compiler.diagnostics import CompileError, Diagnostic, error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from lowbitc.compiler.datasets.stream import Dataset
    from lowbitc.compiler.elements import Array

    Run = Callable[[Mapping[str, Array]], Mapping[str, Array]]
    """Runs one sample: arrays [1, …] by name."""

SEQUENCE = "sequence"
"""Array [n] of a data set: where its number changes, another sequence begins."""


@dataclass(frozen=True, slots=True)
class State:
    """An input that is the output of the sample before; zeros at the start of a sequence."""

    input: str
    output: str


def parse_states(spelled: Iterable[str]) -> tuple[State, ...]:
    """Read ``h=hn``: the input, and the output that feeds it.

    Raises CompileError LB540 when one is not spelled like that.
    """
    states: list[State] = []
    for text in spelled:
        name, mark, output = (part.strip() for part in text.partition("="))
        if not (name and mark and output):
            found = error(
                "LB540",
                "a state is not spelled INPUT=OUTPUT",
                found=repr(text),
                allowed="an input of the model, and the output that feeds it",
                hint="for example --state h=hn",
            )
            raise CompileError([found])
        states.append(State(name, output))
    return tuple(states)


def wrong_states(
    states: Sequence[State],
    inputs: Mapping[str, tuple[object, str]],
    outputs: Mapping[str, tuple[object, str]],
) -> Iterator[Diagnostic]:
    """Yield what is wrong with states, given shapes and element types by name."""
    for state in states:
        for name, side, held in (
            (state.input, "input", inputs),
            (state.output, "output", outputs),
        ):
            if name not in held:
                yield error(
                    "LB540",
                    f"the model has no {side} {name}, which a state names",
                    found=name,
                    allowed=", ".join(held),
                    hint="see the names with `lowbitc inspect` or `lowbitc dump`",
                )
        before, after = inputs.get(state.input), outputs.get(state.output)
        if before is not None and after is not None and before != after:
            yield error(
                "LB541",
                f"{state.output} cannot feed {state.input}: their types differ",
                found=f"{state.output}: {after[1]} {after[0]}",
                allowed=f"{state.input}: {before[1]} {before[0]}",
                hint="give the shapes of inputs that the model leaves open with --shape",
            )
    named = [state.input for state in states]
    for name in sorted({name for name in named if named.count(name) > 1}):
        yield error("LB540", f"two states feed {name}", found=name, allowed="one output an input")


def without_states(specs: Sequence[InputSpec], states: Sequence[State]) -> tuple[InputSpec, ...]:
    """Return what data has to hold: no states, but perhaps the sequence of each sample."""
    if not states:
        return tuple(specs)
    fed = {state.input for state in states}
    kept = [spec for spec in specs if spec.name not in fed]
    if not any(spec.name == SEQUENCE for spec in specs):
        kept.append(InputSpec(SEQUENCE, (1,), "int64", optional=True))
    return tuple(kept)


class Carry:
    """The states of one stream; ``specs`` are those of all inputs of the model."""

    def __init__(self, states: Sequence[State], specs: Sequence[InputSpec]) -> None:
        """Start with zeros."""
        self.states = tuple(states)
        shapes = {spec.name: (1, *spec.sample_shape) for spec in specs}
        types = {spec.name: spec.dtype for spec in specs}
        self._zeros = {s.input: np.zeros(shapes[s.input], np.dtype(types[s.input])) for s in states}
        self._sequence: object = None
        self._held: dict[str, Array] = dict(self._zeros)

    def reset(self) -> None:
        """Begin a sequence."""
        self._held = dict(self._zeros)
        self._sequence = None

    def run(self, inputs: Mapping[str, Array], run: Run) -> Iterator[Mapping[str, Array]]:
        """Run n samples one after the other; yield, for each, its outputs and the states it saw."""
        arrays = dict(inputs)
        numbers = arrays.pop(SEQUENCE, None) if SEQUENCE not in self._zeros else None
        for index in range(len(next(iter(arrays.values())))):
            number = None if numbers is None else numbers[index].item()
            if self._sequence is not None and number != self._sequence:
                self.reset()
            self._sequence = number
            seen = dict(self._held)
            sample = {name: array[index : index + 1] for name, array in arrays.items()}
            outputs = run({**sample, **seen})
            self._held = {s.input: outputs[s.output] for s in self.states}
            yield {**outputs, **seen}


@dataclass(frozen=True, slots=True)
class CarriedDataset:
    """A data set with the states that a network makes on its way through it."""

    dataset: Dataset
    states: tuple[State, ...]
    specs: tuple[InputSpec, ...]
    run: Run

    @property
    def name(self) -> str:
        """How messages call it."""
        return self.dataset.name

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.dataset)

    def batches(self, size: int, start: int = 0, stop: int | None = None) -> Iterator[Batch]:
        """Yield batches; the stream is run from its beginning, whatever ``start`` is."""
        carry = Carry(self.states, self.specs)
        at = 0
        for batch in self.dataset.batches(size, 0, stop):
            found = list(carry.run(batch.inputs, self.run))
            states = {
                s.input: np.concatenate([outputs[s.input] for outputs in found])
                for s in self.states
            }
            inputs = {k: v for k, v in batch.inputs.items() if k != SEQUENCE}
            whole = Batch({**inputs, **states}, batch.labels)
            kept = whole.behind(max(start - at, 0))
            at += batch.size
            if kept.size:
                yield kept
