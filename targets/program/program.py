"""A compiled program in memory: ports, steps, placement, and the container it came from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lowbitc.targets.container import container_digest, write_container

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from lowbitc.compiler.diagnostics import Source
    from lowbitc.compiler.elements import Array
    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.compiler.states import State
    from lowbitc.targets.container import Container, Json
    from lowbitc.targets.placement.model import Placement


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output of the model: its name, one sample's shape, and numpy's type name.

    The shape is None, or holds -1, where the CPU's part decides it.
    """

    name: str
    shape: tuple[int, ...] | None
    element: str

    @property
    def sample_shape(self) -> tuple[int, ...] | None:
        """Shape of one sample in arrays of n samples: without a first dimension of 1."""
        return self.shape[1:] if self.shape and self.shape[0] == 1 else self.shape


@dataclass(frozen=True, slots=True)
class Launch:
    """Integer nodes that run on the chip at once, with their borders; constants are in place."""

    graph: Graph

    @property
    def inputs(self) -> tuple[str, ...]:
        """Values that it reads."""
        return self.graph.inputs

    @property
    def outputs(self) -> tuple[str, ...]:
        """Values that others read."""
        return self.graph.outputs


@dataclass(frozen=True, slots=True)
class HostNode:
    """A node of the user's model that runs on the CPU, and why."""

    name: str
    op: str
    reason: str
    sources: tuple[Source, ...]


@dataclass(frozen=True, slots=True)
class HostStep:
    """A piece that runs on the CPU: an ONNX model, and the nodes that are in it.

    ``ports`` are its outputs; with ``together`` it may run on several samples at once.
    """

    model: bytes
    inputs: tuple[Port, ...]
    ports: tuple[Port, ...]
    nodes: tuple[HostNode, ...]
    together: bool

    @property
    def outputs(self) -> tuple[str, ...]:
        """Values that others read."""
        return tuple(port.name for port in self.ports)


Step = Launch | HostStep


@dataclass(frozen=True, slots=True)
class KnownAnswer:
    """What a launch must give for some inputs: float values or levels, by name of the value."""

    step: int
    inputs: Mapping[str, Array]
    outputs: Mapping[str, Array]


@dataclass(frozen=True, slots=True)
class Program:
    """All that runs a model. Engines read nothing else.

    ``options`` is what the compiler was asked for; ``preprocess`` how images become inputs.
    ``constants`` are outputs and inputs of launches that depend on no input. ``gains`` are, by the
    user's tensor, what its channels (axis 1) are multiplied by in the program, and ``rotated``
    names tensors that have another basis there (``rotate_streams``); no engine reads either.
    ``states`` are inputs that outputs of the sample before feed.
    """

    name: str
    target: str
    target_revision: str
    tool_version: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    steps: tuple[Step, ...]
    placement: Placement
    constants: Mapping[str, Array]
    known_answers: tuple[KnownAnswer, ...]
    options: Mapping[str, Json]
    preprocess: Mapping[str, Json] | None
    container: Container
    gains: Mapping[str, Array] = field(default_factory=dict[str, "Array"])
    rotated: tuple[str, ...] = ()
    states: tuple[State, ...] = ()

    @property
    def manifest(self) -> Mapping[str, Json]:
        """The manifest as it is in the file."""
        return self.container.manifest

    @property
    def launches(self) -> tuple[Launch, ...]:
        """The steps that run on the chip, in order."""
        return tuple(step for step in self.steps if isinstance(step, Launch))

    @property
    def host_steps(self) -> tuple[HostStep, ...]:
        """The steps that run on the CPU, in order."""
        return tuple(step for step in self.steps if isinstance(step, HostStep))

    @property
    def digest(self) -> str:
        """SHA-256 of the file, in hexadecimal."""
        return container_digest(self.container)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the program; reading it and writing it again gives the same bytes.

        Raises CompileError LB614 when the file cannot be written.
        """
        write_container(path, self.container)
