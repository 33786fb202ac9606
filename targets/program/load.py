"""Read a program back from its container, trusting nothing that it says."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np

from lowbitc.compiler.diagnostics import CompileError, Diagnostic, error, raise_errors
from lowbitc.compiler.ir.quantized import DEVICE_OPS
from lowbitc.compiler.states import State, wrong_states
from lowbitc.targets.container import SectionType, decode_arrays, read_container
from lowbitc.targets.placement.model import EXTERNAL, Placement
from lowbitc.targets.program.codec import CodecError, decode
from lowbitc.targets.program.host import HostModelError, read_host_model
from lowbitc.targets.program.image import ImageError, read_image
from lowbitc.targets.program.load_launch import HINT, read_launch, refuse
from lowbitc.targets.program.program import (
    HostStep,
    KnownAnswer,
    Launch,
    Port,
    Program,
    Step,
)
from lowbitc.targets.program.records import (
    GAINS_SECTION,
    ROTATED_SECTION,
    SCALES_SECTION,
    VALUES_SECTION,
    HostRecord,
    ManifestRecord,
    StepRecord,
)

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping, Sequence

    from lowbitc.compiler.elements import Array
    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.targets.container import Container, Json, Section
    from lowbitc.targets.program.image import Image

_AWAY = (EXTERNAL, EXTERNAL)


def load_program(source: str | os.PathLike[str] | bytes) -> Program:
    """Read a program from a file or from its bytes.

    Every length, index, shape and range is checked before it is used. Raises CompileError LB6xx.
    """
    return program_of(read_container(source))


def program_of(container: Container) -> Program:
    """Return the program that a container holds.

    Raises CompileError LB607, or LB615 to LB619 with everything that is wrong at one step.
    """
    try:
        manifest = decode(ManifestRecord, container.manifest, "manifest")
    except CodecError as problem:
        found = error(
            "LB607", "the manifest is not that of a program", found=str(problem), hint=HINT
        )
        raise CompileError([found]) from problem
    return _Loader(container, manifest).program()


class _Loader:
    """Builds the program step by step; ``found`` collects what is wrong."""

    def __init__(self, container: Container, manifest: ManifestRecord) -> None:
        self.container = container
        self.manifest = manifest
        self.found: list[Diagnostic] = []
        self.values = self._arrays(VALUES_SECTION)
        self.scales = self._arrays(SCALES_SECTION)
        self.images = self._images()

    def program(self) -> Program:
        manifest = self.manifest
        device = [
            node
            for record in manifest.steps
            if record.launch is not None
            for node in record.launch.nodes
            if isinstance(node, DEVICE_OPS)
        ]
        by_layer: dict[int, list[Image]] = {}
        for image in self.images:
            by_layer.setdefault(image.layer, []).append(image)
        for number in sorted(by_layer):
            if number >= len(device):
                self.found.append(
                    refuse("LB616", f"an NP image belongs to no layer: {number}", len(device))
                )
        raise_errors(self.found)
        layers = {node.name: tuple(by_layer.get(i, ())) for i, node in enumerate(device)}
        if len(layers) != len(device):
            raise CompileError([refuse("LB617", "two nodes have the same name")])
        steps = tuple(self._step(i, record, layers) for i, record in enumerate(manifest.steps))
        raise_errors(self.found)
        self._check_flow(steps)
        placement = self._placement([node.name for node in device])
        raise_errors(self.found)
        return Program(
            name=manifest.name,
            target=manifest.target.name,
            target_revision=manifest.target.revision,
            tool_version=manifest.tool.version,
            inputs=manifest.inputs,
            outputs=manifest.outputs,
            steps=steps,
            placement=placement,
            constants=self.values,
            known_answers=tuple(self._known_answers(steps)),
            options=cast("Mapping[str, Json]", manifest.options),
            preprocess=cast("Mapping[str, Json] | None", manifest.preprocess),
            container=self.container,
            gains=self._gains(),
            rotated=tuple(self._arrays(ROTATED_SECTION)),
            states=self._states(),
        )

    # --- sections --------------------------------------------------------------------------------

    def _arrays(self, number: int) -> Mapping[str, Array]:
        section = self.container.find(SectionType.CONSTANTS, number)
        return {} if section is None else decode_arrays(section.data)

    def _states(self) -> tuple[State, ...]:
        sides = [
            {port.name: (port.shape, port.element) for port in ports}
            for ports in (self.manifest.inputs, self.manifest.outputs)
        ]
        wrong = list(wrong_states(self.manifest.states, *sides))
        raise_errors(refuse("LB619", problem.message, problem.found) for problem in wrong)
        return self.manifest.states

    def _gains(self) -> Mapping[str, Array]:
        """Return the gains; a value without any is the user's tensor as it is."""
        gains = self._arrays(GAINS_SECTION)
        for name, array in gains.items():
            floats = np.asarray(array, np.float64) if array.dtype.kind == "f" else np.zeros(1)
            if floats.ndim != 1 or not np.all(np.isfinite(floats) & (floats > 0)):
                self.found.append(refuse("LB619", f"the gains of {name} are not positive numbers"))
        raise_errors(self.found)
        return gains

    def _images(self) -> list[Image]:
        sections = self.container.of_kind(SectionType.NP_IMAGE)
        images = [self._image(place, section) for place, section in enumerate(sections)]
        raise_errors(self.found)
        return [image for image in images if image is not None]

    def _image(self, place: int, section: Section) -> Image | None:
        if section.number != place:
            self.found.append(refuse("LB616", f"{section.name} follows NP image {place - 1}"))
            return None
        try:
            return read_image(section.data)
        except ImageError as problem:
            self.found.append(refuse("LB616", f"{section.name} is malformed", problem))
            return None

    def _known_answers(self, steps: tuple[Step, ...]) -> Iterator[KnownAnswer]:
        for section in self.container.of_kind(SectionType.KNOWN_ANSWER):
            arrays = decode_arrays(section.data)
            parts: dict[str, dict[str, Array]] = {"in": {}, "out": {}}
            for key, array in arrays.items():
                side, _, name = key.partition(":")
                parts.setdefault(side, {})[name] = array
            step = steps[section.number] if section.number < len(steps) else None
            wanted = (sorted(step.inputs), sorted(step.outputs)) if isinstance(step, Launch) else ()
            if wanted != (sorted(parts["in"]), sorted(parts["out"])) or len(parts) > 2:  # noqa: PLR2004
                self.found.append(
                    refuse("LB619", f"{section.name} does not belong to a launch", list(arrays))
                )
                continue
            yield KnownAnswer(section.number, parts["in"], parts["out"])
        raise_errors(self.found)

    # --- steps -----------------------------------------------------------------------------------

    def _step(
        self, index: int, record: StepRecord, layers: Mapping[str, tuple[Image, ...]]
    ) -> Step:
        if (record.launch is None) is (record.host is None):
            raise CompileError([refuse("LB619", f"step {index} is not one launch or one piece")])
        if record.launch is not None:
            name = self.manifest.name
            return Launch(read_launch(name, record.launch, layers, self.scales))
        return self._host(index, record.host or HostRecord((), (), ()))

    def _host(self, index: int, record: HostRecord) -> HostStep:
        section = self.container.find(SectionType.CPU_PIECE, index)
        model = b"" if section is None else bytes(section.data)
        together = False
        try:
            together = read_host_model(
                model, [p.name for p in record.inputs], [p.name for p in record.outputs]
            )
        except HostModelError as problem:
            self.found.append(refuse("LB618", f"CPU piece {index} is refused", problem))
        return HostStep(model, record.inputs, record.outputs, record.nodes, together)

    # --- the whole -------------------------------------------------------------------------------

    def _check_flow(self, steps: tuple[Step, ...]) -> None:
        """Check that every step reads what is there, in the same type, and outputs are made."""
        there: dict[str, tuple[tuple[int, ...] | None, str]] = {
            name: (array.shape, array.dtype.name) for name, array in self.values.items()
        }
        there.update((p.name, (p.shape, p.element)) for p in self.manifest.inputs)
        for index, step in enumerate(steps):
            for port in _reads(step):
                if there.get(port.name) != (port.shape, port.element):
                    self.found.append(
                        refuse(
                            "LB619",
                            f"step {index} reads {port.name}, which is not there in that type",
                            there.get(port.name, "nothing"),
                        )
                    )
            for port in _makes(step):
                if port.name in there:
                    self.found.append(refuse("LB619", f"{port.name} is made twice"))
                there[port.name] = (port.shape, port.element)
        for port in self.manifest.outputs:
            if there.get(port.name) != (port.shape, port.element):
                self.found.append(
                    refuse("LB619", f"the output {port.name} is not made in its type")
                )

    def _placement(self, device: Sequence[str]) -> Placement:
        processors = tuple(
            image.processor(index, device[image.layer]) for index, image in enumerate(self.images)
        )
        launches = sum(record.launch is not None for record in self.manifest.steps)
        start = 0
        for index, step in enumerate(self.manifest.passes):
            begin, end = step.processors
            if (step.index, begin) != (index, start) or end <= begin or step.launches[1] > launches:
                self.found.append(refuse("LB619", f"pass {index} is out of order", step))
            for image in self.images[begin : max(end, begin)]:
                if image.pass_index != index:
                    self.found.append(refuse("LB616", f"an NP of pass {index} is of another"))
            start = max(end, start)
        if start != len(processors):
            self.found.append(refuse("LB619", "the passes do not hold all NPs", start))
        for processor in processors:
            if any(r != _AWAY and r[1] > len(processors) for r in processor.routes):
                self.found.append(
                    refuse("LB616", f"NP {processor.index} has a route to no NP", processor.routes)
                )
        return Placement(processors, self.manifest.passes)


def _reads(step: Step) -> tuple[Port, ...]:
    if isinstance(step, HostStep):
        return step.inputs
    return tuple(_port(step.graph, value) for value in step.inputs)


def _makes(step: Step) -> tuple[Port, ...]:
    if isinstance(step, HostStep):
        return step.ports
    return tuple(_port(step.graph, value) for value in step.outputs)


def _port(graph: Graph, value: str) -> Port:
    held = graph.tensor(value)
    return Port(value, held.shape, held.element.name)
