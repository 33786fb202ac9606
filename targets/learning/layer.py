"""Read the neurons of a program's learning layer, and write them back."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lowbitc.compiler.diagnostics import CompileError, error
from lowbitc.compiler.elements import ODD1, U1
from lowbitc.compiler.ir import quantized as q
from lowbitc.targets.container import (
    Container,
    Section,
    SectionType,
    decode_arrays,
    encode_arrays,
    pack_levels,
)
from lowbitc.targets.engines.registry import DEFAULT_ENGINE, engine_maker
from lowbitc.targets.learning.rule import Neurons
from lowbitc.targets.program.image import read_image
from lowbitc.targets.program.load import program_of
from lowbitc.targets.program.program import Launch
from lowbitc.targets.program.records import LEARNING_SECTION
from lowbitc.targets.program.rows import pack_stage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.targets.program.program import Program


@dataclass(frozen=True, slots=True)
class LearningLayer:
    """The layer that learns: its step, its node, and the binary features that it reads."""

    step: int
    graph: Graph
    node: q.QDense

    @property
    def features(self) -> str:
        """The value that it reads."""
        return self.node.inputs[0]


def find_layer(program: Program) -> LearningLayer:
    """Return the layer of a program that learns.

    Raises CompileError LB550 where there is none.
    """
    learns = program.options.get("learn")
    for step in reversed(range(len(program.steps))):
        launch = program.steps[step]
        for node in reversed(launch.graph.nodes) if isinstance(launch, Launch) else ():
            if isinstance(launch, Launch) and isinstance(node, q.QDense) and learns:
                graph = launch.graph
                if (
                    graph.tensor(node.inputs[0]).levels == U1
                    and graph.tensor(node.inputs[1]).levels == ODD1
                    and node.stage is q.Stage.ACCUMULATOR
                ):
                    return LearningLayer(step, graph, node)
    raise CompileError(
        [
            error(
                "LB550",
                "the program has no layer that learns",
                found=f"options {dict(program.options)}",
                hint="compile the model with --learn CLASSES:NEURONS",
            )
        ]
    )


def read_neurons(program: Program, layer: LearningLayer, classes: int) -> Neurons:
    """Return the layer's neurons as they are; ``connections`` is 0 where none has learned."""
    weights = np.asarray(layer.graph.constants[layer.node.inputs[1]], np.int8)
    section = program.container.find(SectionType.CONSTANTS, LEARNING_SECTION)
    units = len(weights)
    learned, thresholds = np.zeros(units, np.int32), np.zeros(units, np.int32)
    if section is not None:
        state = decode_arrays(section.data)
        held = {name: np.asarray(state.get(name, ())) for name in ("learned", "thresholds")}
        if any(array.shape != (units,) for array in held.values()):
            found = {name: list(array.shape) for name, array in held.items()}
            raise CompileError(
                [
                    error(
                        "LB550",
                        "the state of the layer that learns is damaged",
                        found=str(found),
                        hint="compile the model again",
                    )
                ]
            )
        learned = held["learned"].astype(np.int32)
        thresholds = held["thresholds"].astype(np.int32)
    connected = weights > 0
    return Neurons(connected, learned, thresholds, int(connected.sum(axis=1).max()), classes)


def with_neurons(program: Program, layer: LearningLayer, neurons: Neurons) -> Program:
    """Return the program with other neurons: the layer's images, its state and its answers."""
    old = program.container
    changed = dict(_images(program, layer, neurons))
    state = encode_arrays({"learned": neurons.learned, "thresholds": neurons.thresholds})
    kept = [
        changed.get(s.number, s) if s.kind == SectionType.NP_IMAGE else s
        for s in old.sections
        if (s.kind, s.number) != (SectionType.CONSTANTS, LEARNING_SECTION)
    ]
    kept.append(Section(SectionType.CONSTANTS, LEARNING_SECTION, state))
    learned = program_of(_container(old, kept))
    launch = learned.steps[layer.step]
    if not isinstance(launch, Launch):
        return learned
    runner = engine_maker(DEFAULT_ENGINE)(learned, launch, 1)
    for answer in program.known_answers:
        if answer.step == layer.step:
            arrays = {f"in:{name}": array for name, array in answer.inputs.items()}
            made = runner.run(answer.inputs)
            arrays.update((f"out:{name}", array) for name, array in made.items())
            again = Section(SectionType.KNOWN_ANSWER, layer.step, encode_arrays(arrays))
            kept = [
                again if (s.kind, s.number) == (SectionType.KNOWN_ANSWER, layer.step) else s
                for s in kept
            ]
    return program_of(_container(old, kept))


def _container(old: Container, sections: list[Section]) -> Container:
    ordered = sorted(sections, key=lambda section: (section.kind, section.number))
    return Container(old.manifest, tuple(ordered), old.minor)


def _images(
    program: Program, layer: LearningLayer, neurons: Neurons
) -> Iterator[tuple[int, Section]]:
    """Yield the sections of the layer's NPs with their block of the new weights, by number."""
    levels = np.where(neurons.connected, 1, -1).astype(np.int8)
    sections = program.container.of_kind(SectionType.NP_IMAGE)
    for processor in program.placement.of_layer()[layer.node.name]:
        section = sections[processor.index]
        image = read_image(section.data)
        block = levels[slice(*image.channels), slice(*image.inputs)]
        packed = pack_levels(np.ravel(block), ODD1)
        bias = np.where(neurons.learned[slice(*image.channels)] > 0, 0, -1)
        stage = pack_stage(q.Stage.ACCUMULATOR, [bias]).tobytes() if image.stage else b""
        data = dataclasses.replace(image, weights=bytes(packed), stage=stage).to_bytes()
        yield section.number, dataclasses.replace(section, data=data)
