"""Build a program from a partitioned graph: place, emit, load, and store known answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from lowbitc.compiler.diagnostics import CompileError
from lowbitc.compiler.onnx_types import numpy_dtype
from lowbitc.targets.engines.answers import with_answers
from lowbitc.targets.placement.mesh import MODES
from lowbitc.targets.placement.place import place
from lowbitc.targets.program.codec import encode
from lowbitc.targets.program.emit import Origin, emit
from lowbitc.targets.program.load import program_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lowbitc.compiler.datasets.preprocess import Preprocess
    from lowbitc.compiler.diagnostics import Diagnostic
    from lowbitc.compiler.elements import Array
    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.compiler.states import State
    from lowbitc.targets.container import Json
    from lowbitc.targets.program.program import Program
    from lowbitc.targets.spec import Target

_FAILED_ON_DATA = "LB192"


@dataclass(frozen=True, slots=True)
class Built:
    """A program, and what its making noticed."""

    program: Program
    diagnostics: tuple[Diagnostic, ...] = ()


def build_program(
    graph: Graph,
    target: Target,
    options: Mapping[str, Json],
    sample: Mapping[str, Array] | None = None,
    preprocess: Preprocess | None = None,
    mode: str = MODES[0],
    states: tuple[State, ...] = (),
) -> Built:
    """Build the program of a partitioned graph for a target.

    ``sample`` has the shapes of the graph's inputs; without it, known answers are for zeros, and
    there are none where the model does not take zeros. ``mode`` is one of placement.mesh.MODES.
    Raises CompileError LB501 to LB503 where the graph does not fit the target.
    """
    placement = place(graph, target.mesh, mode)
    origin = Origin(target.name, target.revision, options, _preprocess(preprocess), states)
    program = program_of(emit(graph, placement, origin))
    given = sample if sample is not None else _zeros(graph)
    try:
        answered = with_answers(program, {k: _as_sample(v) for k, v in given.items()}, "reference")
    except CompileError as problem:
        # Zeros may be no input that the model takes: a branch for another sampling rate, say.
        if sample is not None or {d.code for d in problem.diagnostics} != {_FAILED_ON_DATA}:
            raise
        return Built(program)
    return Built(answered)


def _zeros(graph: Graph) -> dict[str, Array]:
    return {
        name: np.zeros(graph.shape(name), numpy_dtype(graph.tensor(name).element))
        for name in graph.inputs
    }


def _as_sample(array: Array) -> Array:
    """Return an input's own shape as an array of one sample."""
    return array if array.ndim and array.shape[0] == 1 else array[None]


def _preprocess(preprocess: Preprocess | None) -> Mapping[str, Json] | None:
    if preprocess is None:
        return None
    return cast("Mapping[str, Json]", encode(preprocess))
