"""The fast engine: launches in native kernels that are proved equal when they are loaded.

A launch is cut into runs of nodes that a native plan holds and single nodes that it does not; the
latter go through the reference engine's definitions. Without the native extension all do.
"""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from lowbitc.compiler.diagnostics import InternalError
from lowbitc.compiler.ir import quantized as q
from lowbitc.targets import native
from lowbitc.targets.engines.borders import dequantize_sums, quantize_bytes
from lowbitc.targets.engines.native_lowering import Lowering, lower, native_shape, supports
from lowbitc.targets.engines.nonzeros import Nonzeros
from lowbitc.targets.engines.reference import ReferenceLaunch, samples_of
from lowbitc.targets.engines.traffic import Tally, Traffic
from lowbitc.targets.placement.model import NOWHERE, Placement

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lowbitc.compiler.elements import Array, Float32, Int32, Int64, Levels
    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.compiler.ir.node import Node
    from lowbitc.targets.engines.events import Counts
    from lowbitc.targets.native.plan import LayerProof, Plan

Part: TypeAlias = "NativeRun | RowsRun | Node"


class FastLaunch:
    """A launch, cut and lowered; ``proofs`` says why each native layer is exact."""

    def __init__(self, graph: Graph, threads: int, placement: Placement = NOWHERE) -> None:
        """Lower the launch; its NPs are asked for when events are counted."""
        self.graph = graph
        self.threads = threads
        self.parts = cut(graph)
        self._placement = placement
        self._counting: tuple[tuple[Part, ...], Traffic] | None = None
        self._last = {v: i for i, part in enumerate(self.parts) for v in _reads(part)}

    @property
    def proofs(self) -> tuple[LayerProof, ...]:
        """How each native layer is computed, and why that is exact."""
        runs = (part for part in self.parts if isinstance(part, (NativeRun, RowsRun)))
        return tuple(proof for run in runs for proof in run.plan.proofs)

    def run(self, inputs: Mapping[str, Array], counts: Counts | None = None) -> dict[str, Array]:
        """Return the launch's outputs by name for n samples joined along axis 0."""
        values = {v: np.asarray(inputs[v]) for v in self.graph.inputs}
        parts, tally = self.parts, None
        if counts is not None:
            parts, traffic = self._counted_parts()
            tally = Tally(traffic, samples_of(self.graph, values), counts)
        for index, part in enumerate(parts):
            if isinstance(part, (NativeRun, RowsRun)):
                part.run(self.graph, values, self.threads, tally)
            else:
                _run_node(self.graph, part, values)
            if tally is not None:
                tally.see_all({v: values[v] for v in (*_reads(part), *part.outputs) if v in values})
            for value in _reads(part):
                if self._last.get(value) == index and value not in self.graph.outputs:
                    values.pop(value, None)
        if tally is not None:
            tally.close()
        return {value: values[value] for value in self.graph.outputs}

    def _counted_parts(self) -> tuple[tuple[Part, ...], Traffic]:
        """Return the launch cut so that plans count, and what their counts mean."""
        if self._counting is None:
            traffic = Traffic(self.graph, self._placement)
            self._counting = (cut(self.graph, traffic), traffic)
        return self._counting


@dataclass(frozen=True, slots=True)
class NativeRun:
    """Nodes that run as one native plan, and what crosses its border.

    ``biases`` holds, by output that leaves as sums, the bias that the sums still lack; ``counted``
    the values whose events the plan counts, with the channels at which each count begins.
    """

    plan: Plan
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    biases: Mapping[str, Int32]
    counted: tuple[tuple[str, Int64], ...]

    def run(
        self, graph: Graph, values: dict[str, Array], threads: int, tally: Tally | None
    ) -> None:
        """Read the run's inputs from ``values`` and put its outputs there."""
        arrays = [_as_native(values[name], graph, name) for name in self.inputs]
        results, events = self.plan.run_counted(arrays, threads)
        for name, result in zip(self.outputs, results, strict=True):
            made = np.reshape(result, (-1, *graph.shape(name)[1:]))
            values[name] = (
                np.asarray(made, np.int32) + self.biases[name] if name in self.biases else made
            )
        if tally is None:
            return
        held = iter(events)
        for name, starts in self.counted:
            places = np.stack([next(held) for _ in starts])
            behind = graph.shape(name)[2:]
            counts = np.reshape(places, (len(starts), *behind)) if behind else places.sum((1, 2))
            tally.found.setdefault(name, Nonzeros(starts, np.asarray(counts, np.int64)))


@dataclass(frozen=True, slots=True)
class RowsRun:
    """A dense layer over the last of several dimensions: the rows are the frames of a plan.

    ``alone`` is the layer with rows for frames, [1, features].
    """

    alone: Graph
    rows: NativeRun

    @property
    def plan(self) -> Plan:
        """The native plan."""
        return self.rows.plan

    @property
    def inputs(self) -> tuple[str, ...]:
        """The layer's input."""
        return self.rows.inputs

    @property
    def outputs(self) -> tuple[str, ...]:
        """The layer's output."""
        return self.rows.outputs

    def run(
        self, graph: Graph, values: dict[str, Array], threads: int, tally: Tally | None
    ) -> None:
        """Read the layer's input from ``values`` and put its output there; nothing is counted."""
        del tally
        (source,), (made,) = self.inputs, self.outputs
        held: dict[str, Array] = {source: np.reshape(values[source], (-1, graph.shape(source)[-1]))}
        self.rows.run(self.alone, held, threads, None)
        values[made] = np.reshape(held[made], (-1, *graph.shape(made)[1:]))


def _rows_run(graph: Graph, node: q.QDense) -> RowsRun:
    types = dict(graph.types)
    for value in (node.inputs[0], node.outputs[0]):
        held = graph.tensor(value)
        types[value] = dataclasses.replace(held, shape=(1, held.dims[-1]))
    alone = graph.replace(nodes=(node,), inputs=node.inputs[:1], outputs=node.outputs, types=types)
    return RowsRun(alone, _native_run(alone, [node], None))


def cut(graph: Graph, traffic: Traffic | None = None) -> tuple[Part, ...]:
    """Cut a launch into native runs and single nodes, in order.

    With ``traffic``, plans count the events that it asks for.
    """
    if not native.available():
        return graph.nodes
    parts: list[Part] = []
    held: list[Node] = []
    for node in graph.nodes:
        if supports(node, graph) and not _needs_border(graph, held, node):
            held.append(node)
            continue
        if held:
            parts.append(_native_run(graph, held, traffic))
            held = []
        if supports(node, graph):
            held.append(node)
        elif isinstance(node, q.QDense):
            parts.append(_rows_run(graph, node))
        else:
            parts.append(node)
    if held:
        parts.append(_native_run(graph, held, traffic))
    return tuple(parts)


def _needs_border(graph: Graph, held: Sequence[Node], node: Node) -> bool:
    """Whether a node reads a value that was flattened in this run, but not as a dense layer."""
    if isinstance(node, q.QDense):
        return False
    for before in held:
        if isinstance(before, q.QReshape) and before.outputs[0] in node.inputs:
            shapes = (graph.shape(before.inputs[0]), graph.shape(before.outputs[0]))
            if native_shape(shapes[0]) != native_shape(shapes[1]):
                return True
    return False


def _native_run(graph: Graph, nodes: Sequence[Node], traffic: Traffic | None) -> NativeRun:
    from lowbitc.targets.native.builder import PlanBuilder  # noqa: PLC0415 - an optional extension

    lowering = Lowering(graph, PlanBuilder())
    made = {v for node in nodes for v in node.outputs}
    inputs = tuple(
        dict.fromkeys(
            v for n in nodes for v in n.inputs if v not in made and v not in graph.constants
        )
    )
    # A plan's inputs are in the order in which they are added: levels first, then floats, which
    # the lowering of a Quantize adds.
    floats = tuple(n.inputs[0] for n in nodes if isinstance(n, q.Quantize))
    inputs = (*(v for v in inputs if v not in floats), *floats)
    for name in inputs[: len(inputs) - len(floats)]:
        element, shape = graph.tensor(name).levels, native_shape(graph.shape(name))
        if element is None or shape is None:
            message = f"{name} holds no levels that a plan can read"
            raise InternalError(message)
        lowering.values[name] = lowering.builder.input(shape, element.minimum, element.maximum)
    for node in nodes:
        lowering.values[node.outputs[0]] = lower(node, lowering)
    names = {n.name for n in nodes}
    needed = {*graph.outputs, *(v for n in graph.nodes if n.name not in names for v in n.inputs)}
    counted, uncounted = _counted(lowering, traffic)
    needed.update(uncounted)
    outputs = tuple(v for n in nodes for v in n.outputs if v in needed)
    for name in outputs:
        lowering.builder.output(lowering.values[name])
    for name, starts in counted:
        value = lowering.values[name]
        for first, end in itertools.pairwise([*starts.tolist(), value.shape[0]]):
            lowering.builder.count(value, first, end - first)
    biases = _biases(graph, nodes)
    return NativeRun(lowering.builder.build(), inputs, outputs, biases, counted)


def _counted(
    lowering: Lowering, traffic: Traffic | None
) -> tuple[tuple[tuple[str, Int64], ...], tuple[str, ...]]:
    """Return the values that a plan counts, with first channels, and those that it cannot count."""
    counted: list[tuple[str, Int64]] = []
    uncounted: list[str] = []
    for name in traffic.values if traffic is not None else ():
        value = lowering.values.get(name)
        if traffic is None or value is None or value.raw:
            continue
        starts = traffic.channel_starts(name)
        flat = len(lowering.graph.shape(name)) == _FLAT and value.shape[1:] != (1, 1)
        if flat and len(starts) > 1:
            # Its features are places of a map, which a plan counts by channel.
            uncounted.append(name)
        else:
            counted.append((name, starts))
    return tuple(counted), tuple(uncounted)


_FLAT = 2


def _biases(graph: Graph, nodes: Sequence[Node]) -> dict[str, Int32]:
    found: dict[str, Int32] = {}
    for node in nodes:
        if isinstance(node, q.StagedNode) and node.stage is q.Stage.ACCUMULATOR:
            bias = np.asarray(graph.constants[node.inputs[-1]], np.int32)
            rank = len(graph.shape(node.outputs[0]))
            found[node.outputs[0]] = np.reshape(bias, (1, -1, *(1,) * (rank - 2)))
    return found


def _as_native(values: Array, graph: Graph, name: str) -> Levels | Float32:
    """Return an input as a plan reads it: int8, uint8, or float32 to be quantized."""
    element = graph.tensor(name).levels
    shape = native_shape(graph.shape(name)) or ()
    if element is None:
        floats = values.astype(np.float32, copy=False)
        return np.ascontiguousarray(np.reshape(floats, (-1, *shape)))
    if element.signed:
        return np.ascontiguousarray(np.reshape(values.astype(np.int8, copy=False), (-1, *shape)))
    return np.ascontiguousarray(np.reshape(values.astype(np.uint8, copy=False), (-1, *shape)))


def _run_node(graph: Graph, node: Node, values: dict[str, Array]) -> None:
    """Run one node outside native plans."""
    name = node.outputs[0]
    if isinstance(node, q.Quantize):
        held = graph.tensor(name)
        values[name] = quantize_bytes(values[node.inputs[0]], held)
    elif isinstance(node, q.Dequantize):
        held = graph.tensor(node.inputs[0])
        values[name] = dequantize_sums(values[node.inputs[0]], held, node.axis)
    else:
        data = tuple(v for v in node.inputs if v not in graph.constants)
        alone = graph.replace(nodes=(node,), inputs=data, outputs=node.outputs)
        values.update(ReferenceLaunch(alone).run(values))


def _reads(part: Part) -> tuple[str, ...]:
    return part.inputs
