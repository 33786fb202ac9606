"""Write a placed graph as a program container."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from lowbitc._version import VERSION
from lowbitc.compiler.diagnostics import InternalError
from lowbitc.compiler.export import export_region
from lowbitc.compiler.ir import ops
from lowbitc.compiler.ir.graph import Graph, Region, Where, reads
from lowbitc.compiler.ir.quantized import DEVICE_OPS, StagedNode
from lowbitc.compiler.ir.types import OpaqueType
from lowbitc.targets.container import Container, Section, SectionType, encode_arrays, pack_levels
from lowbitc.targets.placement.layer import describe_layer
from lowbitc.targets.program.codec import encode
from lowbitc.targets.program.image import Image
from lowbitc.targets.program.program import HostNode, Port
from lowbitc.targets.program.records import (
    GAINS_SECTION,
    ROTATED_SECTION,
    SCALES_SECTION,
    VALUES_SECTION,
    HostRecord,
    LaunchRecord,
    ManifestRecord,
    StepRecord,
    TargetRecord,
    ToolRecord,
    ValueRecord,
)
from lowbitc.targets.program.rows import constant_names, pack_stage, to_rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from lowbitc.compiler.elements import Array, LevelType
    from lowbitc.compiler.ir.node import Node
    from lowbitc.compiler.states import State
    from lowbitc.targets.container import Json
    from lowbitc.targets.placement.layer import Layer
    from lowbitc.targets.placement.model import NeuralProcessor, Placement

_TOOL = "lowbitc"


@dataclass(frozen=True, slots=True)
class Origin:
    """What a program is made for and from: stored in its manifest as it is.

    ``options`` is what the compiler was asked for, ``preprocess`` how images become inputs,
    ``states`` which outputs feed inputs of the next sample.
    """

    target: str
    target_revision: str
    options: Mapping[str, Json]
    preprocess: Mapping[str, Json] | None = None
    states: tuple[State, ...] = ()


def emit(graph: Graph, placement: Placement, origin: Origin) -> Container:
    """Write a partitioned graph, placed, as a container; the same input gives the same bytes."""
    steps = [_Step(graph, index, region) for index, region in enumerate(graph.regions)]
    manifest = ManifestRecord(
        name=graph.name,
        tool=ToolRecord(_TOOL, VERSION),
        target=TargetRecord(origin.target, origin.target_revision),
        inputs=tuple(_port(graph, value) for value in graph.inputs),
        outputs=tuple(_port(graph, value) for value in graph.outputs),
        steps=tuple(step.record() for step in steps),
        passes=placement.passes,
        options=origin.options,
        preprocess=origin.preprocess,
        states=origin.states,
    )
    sections = [*_images(graph, placement), *_constants(graph, steps)]
    sections += [
        Section(SectionType.CPU_PIECE, step.index, export_region(graph, step.region.nodes))
        for step in steps
        if step.region.where is Where.HOST
    ]
    return Container(cast("Mapping[str, Json]", encode(manifest)), tuple(sections))


@dataclass(frozen=True, slots=True)
class _Step:
    """A region of the graph, and what crosses its border."""

    graph: Graph
    index: int
    region: Region

    @property
    def nodes(self) -> tuple[Node, ...]:
        by_name = {node.name: node for node in self.graph.nodes}
        return tuple(by_name[name] for name in self.region.nodes)

    def record(self) -> StepRecord:
        if self.region.where is Where.HOST:
            return StepRecord(host=self._host())
        return StepRecord(launch=self.launch())

    def inputs(self) -> tuple[str, ...]:
        """Values that come from outside; a constant only where it is not a layer's own."""
        made = {value for node in self.nodes for value in node.outputs}
        own = {v for node in self.nodes for v in _own_constants(node)}
        if self.region.where is Where.HOST:
            own = set(self.graph.constants)
        read = dict.fromkeys(v for node in self.nodes for v in reads(node))
        return tuple(v for v in read if v not in made and v not in own)

    def outputs(self) -> tuple[str, ...]:
        inside = set(self.region.nodes)
        wanted = set(self.graph.outputs)
        for node in self.graph.nodes:
            if node.name not in inside:
                wanted.update(reads(node))
        return tuple(v for node in self.nodes for v in node.outputs if v in wanted)

    def _host(self) -> HostRecord:
        graph = self.graph
        return HostRecord(
            inputs=tuple(_port(graph, value) for value in self.inputs()),
            outputs=tuple(_port(graph, value) for value in self.outputs()),
            nodes=tuple(
                HostNode(
                    node.name,
                    node.op_type if isinstance(node, ops.HostOp) else node.op,
                    graph.host_reasons.get(node.name, ""),
                    node.sources,
                )
                for node in self.nodes
            ),
        )

    def launch(self) -> LaunchRecord:
        made = [v for node in self.nodes for v in node.outputs]
        weights = [constant_names(node).weight for node in self.nodes]
        values = dict.fromkeys(v for v in (*self.inputs(), *made, *weights) if v)
        return LaunchRecord(
            nodes=self.nodes,
            values=tuple(_value(self.graph, value) for value in values),
            inputs=self.inputs(),
            outputs=self.outputs(),
        )


def _own_constants(node: Node) -> Iterator[str]:
    names = constant_names(node)
    yield from (v for v in (names.weight, *names.stage, names.table) if v)


def _port(graph: Graph, value: str) -> Port:
    held = graph.types.get(value)
    if isinstance(held, OpaqueType):
        return Port(value, None, "opaque")
    tensor = graph.tensor(value)
    return Port(value, tensor.shape, tensor.element.name)


def _value(graph: Graph, value: str) -> ValueRecord:
    held = graph.tensor(value)
    by_channel = len(held.scale) > 1
    scale = held.scale[0] if len(held.scale) == 1 else None
    return ValueRecord(value, held.dims, held.element.name, scale, by_channel)


def _constants(graph: Graph, steps: Iterable[_Step]) -> Iterator[Section]:
    """Yield the sections of constants that cross borders, of scales, gains and rotated values."""
    launches = [step for step in steps if step.region.where is Where.DEVICE]
    crossing = {v for step in launches for v in step.inputs()} | set(graph.outputs)
    values = {v: graph.constants[v] for v in sorted(crossing) if v in graph.constants}
    if values:
        yield Section(SectionType.CONSTANTS, VALUES_SECTION, encode_arrays(values))
    scales: dict[str, Array] = {}
    for step in launches:
        for record in step.launch().values:
            if record.by_channel:
                held = graph.tensor(record.name)
                scales[record.name] = np.asarray(held.scale, np.float64)
    if scales:
        yield Section(SectionType.CONSTANTS, SCALES_SECTION, encode_arrays(scales))
    if graph.gains:
        gains = {v: np.asarray(held, np.float64) for v, held in graph.gains.items()}
        yield Section(SectionType.CONSTANTS, GAINS_SECTION, encode_arrays(gains))
    if graph.rotated:
        named: dict[str, Array] = {v: np.zeros(0, np.uint8) for v in graph.rotated}
        yield Section(SectionType.CONSTANTS, ROTATED_SECTION, encode_arrays(named))


def _images(graph: Graph, placement: Placement) -> Iterator[Section]:
    """Yield the image of every NP, its block cut out of the layer's constants."""
    by_name = {node.name: node for node in graph.nodes}
    device = [
        name
        for region in graph.regions
        for name in region.nodes
        if isinstance(by_name[name], DEVICE_OPS)
    ]
    number = {name: index for index, name in enumerate(device)}
    passes = {i: p.index for p in placement.passes for i in range(*p.processors)}
    for layer, processors in placement.of_layer().items():
        described = describe_layer(by_name[layer], graph)
        if described is None:
            message = f"{layer} has NPs and needs none"
            raise InternalError(message)
        cutter = _Cutter(graph, by_name[layer], described)
        for processor in processors:
            image = cutter.image(processor, number[layer], passes[processor.index])
            yield Section(SectionType.NP_IMAGE, processor.index, image.to_bytes())


class _Cutter:
    """A layer's constants, ready to be cut into blocks."""

    def __init__(self, graph: Graph, node: Node, layer: Layer) -> None:
        names = constant_names(node)
        self.weight: LevelType | None = None
        self.rows: Array | None = None
        if names.weight:
            self.weight = graph.tensor(names.weight).levels
            self.rows = to_rows(node, graph.constants[names.weight])
        self.stage: Array | None = None
        if isinstance(node, StagedNode):
            parts = [graph.constants[v] for v in names.stage]
            self.stage = pack_stage(node.stage, parts)
        self.table = graph.constants[names.table].tobytes() if names.table else b""
        self.layer = layer

    def image(self, processor: NeuralProcessor, number: int, pass_index: int) -> Image:
        weights = stage = table = b""
        block = slice(*processor.channels)
        if self.rows is not None and self.weight is not None:
            part = slice(*(i * self.layer.taps for i in processor.inputs))
            weights = pack_levels(self.rows[block, part].astype(np.int16), self.weight)
        if processor.inputs[1] == self.layer.inputs:
            stage = self.stage[block].tobytes() if self.stage is not None else b""
            table = self.table
        if (len(weights), len(stage) + len(table)) != (
            processor.weight_bytes,
            processor.stage_bytes,
        ):
            message = f"NP {processor.index} of {processor.layer} holds other sizes than planned"
            raise InternalError(message)
        return Image(
            number,
            pass_index,
            processor.x,
            processor.y,
            processor.channels,
            processor.inputs,
            processor.columns,
            self.weight,
            weights,
            stage,
            table,
            processor.activation_bytes,
            processor.routes,
            processor.unit,
        )
