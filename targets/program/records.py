"""The manifest's shape: what is written as canonical JSON, field by field.

Sections beside the manifest: NP_IMAGE by index of the NP; CPU_PIECE and KNOWN_ANSWER by index of
their step; CONSTANTS 0 holds values that depend on no input, CONSTANTS 1 the scales of values
that have one a channel, CONSTANTS 2 the gains of values whose channels were rescaled, CONSTANTS 3
what the neurons of a layer that learns went through (docs/learning.md), CONSTANTS 4 the names of
values in another basis than the user's tensors.
"""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - the codec reads annotations at run time
from dataclasses import dataclass

from lowbitc.compiler.ir.node import Node  # noqa: TC001 - as above
from lowbitc.compiler.states import State  # noqa: TC001 - the codec reads annotations at run time
from lowbitc.targets.placement.model import Pass  # noqa: TC001 - as above
from lowbitc.targets.program.program import HostNode, Port  # noqa: TC001 - as above

VALUES_SECTION = 0
SCALES_SECTION = 1
GAINS_SECTION = 2
LEARNING_SECTION = 3
ROTATED_SECTION = 4


@dataclass(frozen=True, slots=True)
class ToolRecord:
    """What wrote the program."""

    name: str
    version: str


@dataclass(frozen=True, slots=True)
class TargetRecord:
    """What chip the program is for."""

    name: str
    revision: str


@dataclass(frozen=True, slots=True)
class ValueRecord:
    """The type of a value; a scale for each channel stands in CONSTANTS 1 under its name."""

    name: str
    shape: tuple[int, ...]
    element: str
    scale: float | None = None
    by_channel: bool = False


@dataclass(frozen=True, slots=True)
class LaunchRecord:
    """Nodes that run on the chip at once; constants stand in NP images."""

    nodes: tuple[Node, ...]
    values: tuple[ValueRecord, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HostRecord:
    """A piece that runs on the CPU; its model is CPU_PIECE of the step's index."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    nodes: tuple[HostNode, ...]


@dataclass(frozen=True, slots=True)
class StepRecord:
    """One step: a launch or a piece on the CPU."""

    launch: LaunchRecord | None = None
    host: HostRecord | None = None


@dataclass(frozen=True, slots=True)
class ManifestRecord:
    """The whole manifest."""

    name: str
    tool: ToolRecord
    target: TargetRecord
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    steps: tuple[StepRecord, ...]
    passes: tuple[Pass, ...]
    options: Mapping[str, object]
    preprocess: Mapping[str, object] | None = None
    states: tuple[State, ...] = ()
