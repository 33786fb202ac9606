"""Read a program back from its container, trusting nothing that it says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lowbitc.compiler.diagnostics import CompileError, Diagnostic, Severity, error, raise_errors
from lowbitc.compiler.elements import Array, element_type
from lowbitc.compiler.ir.graph import Graph, Stage
from lowbitc.compiler.ir.quantized import DEVICE_OPS
from lowbitc.compiler.ir.types import TensorType
from lowbitc.compiler.ir.verify import verify
from lowbitc.targets.container import SectionType, decode_arrays, read_container
from lowbitc.targets.placement.layer import describe_layer
from lowbitc.targets.placement.model import EXTERNAL, Placement
from lowbitc.targets.program.assemble import AssemblyError, assemble_constants
from lowbitc.targets.program.check import check_node, check_value
from lowbitc.targets.program.codec import CodecError, decode
from lowbitc.targets.program.host import HostModelError, read_host_model
from lowbitc.targets.program.image import ImageError, read_image
from lowbitc.targets.program.program import (
    HostStep,
    KnownAnswer,
    Launch,
    Port,
    Program,
    Step,
)
from lowbitc.targets.program.records import (
    SCALES_SECTION,
    VALUES_SECTION,
    HostRecord,
    LaunchRecord,
    ManifestRecord,
    StepRecord,
    ValueRecord,
)
from lowbitc.targets.program.rows import constant_names

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping

    from lowbitc.compiler.ir.node import Node
    from lowbitc.targets.container import Container
    from lowbitc.targets.program.image import Image

_HINT = "compile the model again"


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
            "LB607", "the manifest is not that of a program", found=str(problem), hint=_HINT
        )
        raise CompileError([found]) from problem
    return _Loader(container, manifest).program()


def _refuse(code: str, message: str, problem: object = "") -> Diagnostic:
    return error(code, message, found=str(problem), hint=_HINT)


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
                    _refuse("LB616", f"an NP image belongs to no layer: {number}", len(device))
                )
        raise_errors(self.found)
        layers = {node.name: tuple(by_layer.get(i, ())) for i, node in enumerate(device)}
        if len(layers) != len(device):
            raise CompileError([_refuse("LB617", "two nodes have the same name")])
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
            options=manifest.options,  # type: ignore[arg-type]
            preprocess=manifest.preprocess,  # type: ignore[arg-type]
            container=self.container,
        )

    # --- sections --------------------------------------------------------------------------------

    def _arrays(self, number: int) -> Mapping[str, Array]:
        section = self.container.find(SectionType.CONSTANTS, number)
        return {} if section is None else decode_arrays(section.data)

    def _images(self) -> list[Image]:
        images: list[Image] = []
        for place, section in enumerate(self.container.of_kind(SectionType.NP_IMAGE)):
            try:
                if section.number != place:
                    message = f"it has the number {section.number} in place of {place}"
                    raise ImageError(message)
                images.append(read_image(section.data))
            except ImageError as problem:
                self.found.append(_refuse("LB616", f"{section.name} is malformed", problem))
        raise_errors(self.found)
        return images

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
                    _refuse("LB619", f"{section.name} does not belong to a launch", list(arrays))
                )
                continue
            yield KnownAnswer(section.number, parts["in"], parts["out"])
        raise_errors(self.found)

    # --- steps -----------------------------------------------------------------------------------

    def _step(
        self, index: int, record: StepRecord, layers: Mapping[str, tuple[Image, ...]]
    ) -> Step:
        if (record.launch is None) is (record.host is None):
            raise CompileError([_refuse("LB619", f"step {index} is not one launch or one piece")])
        if record.launch is not None:
            return Launch(self._launch(record.launch, layers))
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
            self.found.append(_refuse("LB618", f"CPU piece {index} is refused", problem))
        return HostStep(model, record.inputs, record.outputs, record.nodes, together)

    def _launch(
        self, record: LaunchRecord, layers: Mapping[str, tuple[Image, ...]]
    ) -> Graph:
        types = {value.name: self._type(value) for value in record.values}
        graph = Graph(
            name=self.manifest.name,
            inputs=record.inputs,
            outputs=record.outputs,
            nodes=record.nodes,
            types=types,
            stage=Stage.QUANTIZED,
        )
        if len(types) != len(record.values):
            self._wrong_launch("two values have the same name")
        for name, held in types.items():
            self._wrong_launch(*check_value(name, held))
        for name in record.inputs:
            if name not in types:
                self._wrong_launch(f"the input {name} has no type")
        raise_errors(self.found)
        constants: dict[str, Array] = {}
        for node in record.nodes:
            for name, (array, held) in self._constants(node, graph, layers).items():
                before = constants.get(name)
                if before is not None and not np.array_equal(before, array):
                    self._wrong_launch(f"{node.name}: {name} is another constant elsewhere")
                constants[name] = array
                types[name] = held
        raise_errors(self.found)
        built = graph.replace(constants=constants, types=types)
        self._wrong_launch(*(d.message for d in verify(built) if d.severity is Severity.ERROR))
        raise_errors(self.found)
        return built

    def _constants(
        self, node: Node, graph: Graph, layers: Mapping[str, tuple[Image, ...]]
    ) -> Mapping[str, tuple[Array, TensorType]]:
        """Check a node and return its constants; nothing when it is wrong."""
        try:
            names = constant_names(node)
        except ValueError as problem:
            self._wrong_launch(f"{node.name}: {problem}")
            return {}
        own = [v for v in (names.weight, *names.stage, names.table) if v]
        made = {v for n in graph.nodes for v in n.outputs} | set(graph.inputs)
        if made.intersection(own) or len(set(own)) != len(own):
            self._wrong_launch(f"{node.name}: a constant is also made or named twice")
            return {}
        wrong = [f"{node.name}: {problem}" for problem in check_node(node, graph)]
        if wrong:
            self._wrong_launch(*wrong)
            return {}
        layer = describe_layer(node, graph) if isinstance(node, DEVICE_OPS) else None
        images = layers.get(node.name, ())
        if (layer is None) is not (not images):
            self._wrong_launch(f"{node.name} has {len(images)} NPs")
            return {}
        if layer is None:
            return {}
        try:
            return assemble_constants(node, graph, layer, images)
        except (AssemblyError, ValueError) as problem:
            self.found.append(
                _refuse("LB616", f"the NPs of {node.name} do not make up the layer", problem)
            )
            return {}

    def _type(self, record: ValueRecord) -> TensorType:
        scale = () if record.scale is None else (record.scale,)
        if record.by_channel:
            held = self.scales.get(record.name, np.zeros(0))
            scale = tuple(np.asarray(held, np.float64).reshape(-1).tolist())
        return TensorType(record.shape, element_type(record.element), scale)

    def _wrong_launch(self, *problems: str) -> None:
        self.found += [
            _refuse("LB617", "a launch is not what the chip runs", problem) for problem in problems
        ]

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
                        _refuse(
                            "LB619",
                            f"step {index} reads {port.name}, which is not there in that type",
                            there.get(port.name, "nothing"),
                        )
                    )
            for port in _makes(step):
                if port.name in there:
                    self.found.append(_refuse("LB619", f"{port.name} is made twice"))
                there[port.name] = (port.shape, port.element)
        for port in self.manifest.outputs:
            if there.get(port.name) != (port.shape, port.element):
                self.found.append(
                    _refuse("LB619", f"the output {port.name} is not made in its type")
                )

    def _placement(self, device: list[str]) -> Placement:
        processors = tuple(
            image.processor(index, device[image.layer]) for index, image in enumerate(self.images)
        )
        start = 0
        for index, step in enumerate(self.manifest.passes):
            begin, end = step.processors
            launches = sum(record.launch is not None for record in self.manifest.steps)
            if (step.index, begin) != (index, start) or end <= begin or step.launch >= launches:
                self.found.append(_refuse("LB619", f"pass {index} is out of order", step))
            start = max(end, start)
        if start != len(processors):
            self.found.append(_refuse("LB619", "the passes do not hold all NPs", start))
        raise_errors(self.found)
        for step in self.manifest.passes:
            for processor, image in zip(
                processors[slice(*step.processors)],
                self.images[slice(*step.processors)],
                strict=True,
            ):
                away = (EXTERNAL, EXTERNAL)
                inside = all(r == away or r[1] <= len(processors) for r in processor.routes)
                if image.pass_index != step.index or not inside:
                    self.found.append(
                        _refuse("LB616", f"NP {processor.index} is in another pass or has no target")
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
