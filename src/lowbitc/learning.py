"""Let the learning layer of a program take in examples, on the simulated chip."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from lowbitc.compiler.datasets.opening import open_dataset
from lowbitc.compiler.datasets.stream import InputSpec
from lowbitc.compiler.diagnostics import CompileError, Diagnostic, error, raise_errors
from lowbitc.options import parse_learn
from lowbitc.simulation import preprocess_of
from lowbitc.targets.engines.registry import DEFAULT_ENGINE
from lowbitc.targets.engines.simulator import Simulator
from lowbitc.targets.learning.layer import (
    LearningLayer,
    find_layer,
    read_neurons,
    with_neurons,
)
from lowbitc.targets.learning.rule import Plasticity
from lowbitc.targets.program.load import load_program
from lowbitc.targets.program.program import Launch, Port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lowbitc.compiler.datasets.opening import DataSource
    from lowbitc.compiler.elements import Array, Bools, Int64
    from lowbitc.targets.container import Json
    from lowbitc.targets.learning.rule import Neurons
    from lowbitc.targets.program.program import Program

_ROOM = 1.2
"""Connections of a neuron, in numbers of features that are active in half of the examples."""


@dataclass(frozen=True, slots=True)
class Learned:
    """A program that learned; ``as_json`` is what ``lowbitc learn --format json`` prints.

    ``neurons`` says how many of each class have learned something, of ``per_class``.
    """

    program: Program
    examples: int
    classes: int
    per_class: int
    connections: int
    neurons: tuple[int, ...]

    def as_json(self) -> dict[str, Json]:
        """Return plain numbers and lists."""
        return {
            "examples": self.examples,
            "classes": self.classes,
            "neurons_per_class": self.per_class,
            "connections": self.connections,
            "neurons_used": list(self.neurons),
        }


def learn(
    program: Program | str | Path,
    data: DataSource,
    *,
    connections: int | None = None,
    plasticity: Plasticity | None = None,
    engine: str = DEFAULT_ENGINE,
    threads: int = 0,
) -> Learned:
    """Return a program that has learned labelled examples, in the order of ``data``.

    Nothing but the layer that learns is touched. ``connections`` is the number of each neuron's
    connections; at first 1.2 times the median of active features when left out, later what it
    was. Raises CompileError LB550, LB553, LB554, and LB7xx for data that does not fit.
    """
    held = load_program(program) if isinstance(program, (str, Path)) else program
    layer = find_layer(held)
    rule = plasticity or Plasticity()
    neurons = read_neurons(held, layer, parse_learn(str(held.options["learn"])).classes)
    raise_errors(_wrong_rates(rule))
    active, labels = _examples(held, layer, data, engine, threads)
    _check_labels(labels, neurons.classes)
    neurons.connections = _connections(neurons, active, connections)
    for features, label in zip(active, labels.tolist(), strict=True):
        neurons.learn(features, label, rule)
    used = np.count_nonzero(neurons.learned.reshape(neurons.classes, -1), axis=1)
    return Learned(
        with_neurons(held, layer, neurons),
        len(labels),
        neurons.classes,
        neurons.per_class,
        neurons.connections,
        tuple(used.tolist()),
    )


def feature_program(program: Program) -> Program:
    """Return the program up to the binary features that its learning layer reads."""
    layer = find_layer(program)
    graph = layer.graph.replace(outputs=(layer.features,)).pruned()
    held = graph.tensor(layer.features)
    port = Port(layer.features, held.shape, held.element.name)
    steps = (*program.steps[: layer.step], Launch(graph))
    return dataclasses.replace(program, steps=steps, outputs=(port,), known_answers=())


def _examples(
    program: Program, layer: LearningLayer, data: DataSource, engine: str, threads: int
) -> tuple[Bools, Int64]:
    """Return the features [n, inputs] of all examples, and their labels."""
    specs = [InputSpec(p.name, p.shape or (), p.element) for p in program.inputs]
    dataset = open_dataset(data, specs, preprocess_of(program))
    simulator = Simulator(feature_program(program), engine, threads=threads)
    features: list[Bools] = []
    labels: list[Array] = []
    for batch in dataset.batches(simulator.batch):
        if batch.labels is None:
            raise CompileError([_unlearnable("no labels")])
        made = simulator.run(batch.inputs)[layer.features]
        features.append(np.asarray(made, np.bool_))
        labels.append(np.asarray(batch.labels))
    return np.concatenate(features), cast("Int64", np.concatenate(labels))


def _unlearnable(found: str, allowed: str = "an integer a sample, as y in an .npz") -> Diagnostic:
    return error(
        "LB553",
        "the labels cannot be learned",
        found=found,
        allowed=allowed,
        hint="give labels from 0 on, or compile with --learn and more classes",
    )


def _check_labels(labels: Int64, classes: int) -> None:
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        found = f"{labels.dtype} labels of shape {list(labels.shape)}"
        raise CompileError([_unlearnable(found)])
    outside = sorted({int(v) for v in labels if not 0 <= v < classes})
    if outside:
        shown = ", ".join(str(v) for v in outside[:8])
        raise CompileError([_unlearnable(shown, f"0 to {classes - 1}")])


def _wrong_rates(rule: Plasticity) -> Iterator[Diagnostic]:
    for name, value in dataclasses.asdict(rule).items():
        if not 0 <= value <= 1:
            yield _outside(name, str(value), "0 to 1")


def _outside(name: str, found: str, allowed: str) -> Diagnostic:
    return error(
        "LB554",
        f"the {name} is out of range",
        found=found,
        allowed=allowed,
        hint="leave it out for what is usual",
    )


def _connections(neurons: Neurons, active: Bools, asked: int | None) -> int:
    """Return the number of connections of every neuron."""
    inputs = int(neurons.connected.shape[1])
    name = "number of connections"
    if neurons.connections:
        if asked not in {None, neurons.connections}:
            allowed = f"{neurons.connections}, as in the neurons that have learned"
            raise CompileError([_outside(name, str(asked), allowed)])
        return neurons.connections
    if asked is None:
        median = float(np.median(np.count_nonzero(active, axis=1)))
        return min(max(round(_ROOM * median), 1), inputs)
    if not 1 <= asked <= inputs:
        raise CompileError([_outside(name, str(asked), f"1 to {inputs}, the inputs of a neuron")])
    return asked
