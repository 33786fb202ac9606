"""Known answers: what each launch gives for one sample, stored in the program and checked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lowbitc.compiler.diagnostics import Diagnostic, error
from lowbitc.targets.container import Container, Section, SectionType, encode_arrays
from lowbitc.targets.engines.registry import engine_maker
from lowbitc.targets.engines.simulator import Simulator
from lowbitc.targets.engines.tracing import TracedLaunch
from lowbitc.targets.program.load import program_of
from lowbitc.targets.program.program import Launch

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lowbitc.compiler.elements import Array
    from lowbitc.compiler.ir.node import Node
    from lowbitc.targets.program.program import KnownAnswer, Program


def with_answers(program: Program, sample: Mapping[str, Array], engine: str) -> Program:
    """Return the program with what every launch reads and makes for one sample.

    ``sample`` holds arrays of one sample, [1, …] as Simulator takes them.
    """
    sections: list[Section] = []

    def keep(step: int, feeds: Mapping[str, Array], made: Mapping[str, Array]) -> None:
        arrays = {f"in:{name}": array for name, array in feeds.items()}
        arrays.update((f"out:{name}", array) for name, array in made.items())
        sections.append(Section(SectionType.KNOWN_ANSWER, step, encode_arrays(arrays)))

    Simulator(program, engine).run(sample, observe=keep)
    old = program.container
    kept = [s for s in old.sections if s.kind != SectionType.KNOWN_ANSWER]
    return program_of(Container(old.manifest, (*kept, *sections), old.minor))


def check_answers(program: Program, engine: str, *, threads: int = 0) -> Iterator[Diagnostic]:
    """Yield LB744 for every output of a launch that differs from the stored answer.

    The finding names the first layer whose values are not those of the integer definitions.
    """
    make = engine_maker(engine)
    for answer in program.known_answers:
        step = program.steps[answer.step]
        if not isinstance(step, Launch):
            continue
        made = make(program, step, threads).run(answer.inputs)
        for name, wanted in answer.outputs.items():
            found = made[name]
            if found.shape != wanted.shape:
                differing = wanted.size
            else:
                differing = int(np.count_nonzero(found != wanted))
            if differing:
                layer = _first_wrong(program, step, answer, engine, threads)
                where = f"first in the layer {layer.name}" if layer else "in no layer by itself"
                yield error(
                    "LB744",
                    f"{engine} gives other values than the program's known answer for {name}",
                    sources=layer.sources if layer else (),
                    found=f"{differing} of {wanted.size} values differ, {where}",
                    allowed="none",
                    hint="report it with the program: engines must agree bit for bit",
                )


def _first_wrong(
    program: Program, step: Launch, answer: KnownAnswer, engine: str, threads: int
) -> Node | None:
    """Run the launch up to each node in turn; return the first whose output is not right.

    None where all are: then the stored answer is wrong.
    """
    make, traced = engine_maker(engine), TracedLaunch(step.graph, threads)
    traced.run(answer.inputs)
    for node in step.graph.nodes:
        (value,) = node.outputs
        part = Launch(step.graph.replace(outputs=(value,)).pruned())
        found = make(program, part, threads).run(answer.inputs)[value]
        if not np.array_equal(found, traced.values[value]):
            return node
    return None
