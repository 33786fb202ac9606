"""Run the float network and the network quantized so far side by side, layer by layer.

Only values that a later layer still reads are kept, in temporary files: levels as bytes, floats
as they are. So memory does not grow with the number of samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lowbitc.compiler.diagnostics import CompileError
from lowbitc.compiler.elements import F32
from lowbitc.compiler.execute import FloatSession
from lowbitc.compiler.execute_levels import LevelSession
from lowbitc.compiler.ir import ops, quantized
from lowbitc.compiler.ir.graph import Graph, Stage, reads
from lowbitc.compiler.ir.types import TensorType
from lowbitc.compiler.numerics import spec
from lowbitc.passes.chains import Chain, find_chains
from lowbitc.passes.plan_levels import leaves_as_sums
from lowbitc.passes.quantize import Quantize, level_name
from lowbitc.passes.spool import Spool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from lowbitc.compiler.elements import Array
    from lowbitc.compiler.ir.node import Node

_ELEMENTS_AT_ONCE = 1 << 23


@dataclass(frozen=True, slots=True)
class Step:
    """Nodes that run together: a layer, or one other node."""

    nodes: tuple[Node, ...]
    chain: Chain | None
    on_host: bool

    @property
    def outputs(self) -> tuple[str, ...]:
        """Values that the step makes for others."""
        if self.chain is not None:
            return (self.chain.output,)
        return tuple(v for v in self.nodes[0].outputs if v)

    @property
    def inputs(self) -> tuple[str, ...]:
        """Values and constants that the step reads from outside."""
        made = {v for node in self.nodes for v in node.outputs}
        return tuple(dict.fromkeys(v for n in self.nodes for v in reads(n) if v not in made))


def list_steps(graph: Graph) -> tuple[Step, ...]:
    """Return the steps of a calibrated float graph in order."""
    chains = {c.compute.name: c for c in find_chains(graph)}
    inner = {n.name for c in chains.values() for n in c.nodes[1:]}
    steps: list[Step] = []
    for node in graph.nodes:
        if node.name in chains:
            steps.append(Step(chains[node.name].nodes, chains[node.name], on_host=False))
        elif node.name not in inner:
            steps.append(Step((node,), None, node.name in graph.host_reasons))
    return tuple(steps)


class Replay:
    """Both networks' values for all calibration samples, as far as they have been run.

    ``floats`` are values of the float network, ``seen`` what the quantized one has in their place
    (levels where the chip makes them, under the same name). A value that cannot be kept, such as
    a sequence, is in ``lost``, and so is all that depends on it.
    """

    def __init__(
        self, graph: Graph, samples: Callable[[], Iterable[Mapping[str, Array]]], threads: int = 0
    ) -> None:
        """Read all samples into files."""
        self.graph = graph
        self.threads = threads
        self.steps = list_steps(graph)
        self.floats: dict[str, Spool] = {}
        self.seen: dict[str, Spool] = {}
        self.lost: set[str] = set()
        self.frames = 0
        self._plains = _plain_values(graph, self.steps)
        self._last = {v: i for i, step in enumerate(self.steps) for v in step.inputs}
        spools = {value: Spool() for value in graph.inputs}
        for sample in samples():
            for value, spool in spools.items():
                spool.append(np.asarray(sample[value]))
            self.frames += 1
        for value, spool in spools.items():
            self.floats[value] = spool

    def close(self) -> None:
        """Drop all files."""
        for spool in (*self.floats.values(), *self.seen.values()):
            spool.close()
        self.floats.clear()
        self.seen.clear()

    # --- what is there ---------------------------------------------------------------------------

    def batches(self, values: Iterable[str]) -> Iterator[tuple[int, int]]:
        """Yield ranges of samples that fit in memory with the given values."""
        most = max((self.graph.tensor(v).size for v in values), default=1)
        step = max(1, min(_ELEMENTS_AT_ONCE // max(most, 1), 256))
        for start in range(0, self.frames, step):
            yield start, min(start + step, self.frames)

    def read_float(self, value: str, start: int, stop: int) -> Array:
        """Return a value of the float network for a range of samples."""
        return self._read(self.floats[value], start, stop)

    def read_levels(self, value: str, start: int, stop: int) -> Array:
        """Return the levels of a value, quantizing what the CPU made."""
        if value in self.seen:
            found = self._read(self.seen[value], start, stop)
            if value not in self._plains:
                return found
        else:
            found = self.read_float(value, start, stop)
        clip = self.graph.clips[value]
        return spec.quantize(np.asarray(found, np.float32), clip.scale, clip.element).astype(
            clip.element.dtype
        )

    def read_seen(self, value: str, start: int, stop: int) -> Array:
        """Return a value of the quantized network, dequantized where it is levels."""
        if value not in self.seen:
            return self.read_float(value, start, stop)
        found = self._read(self.seen[value], start, stop)
        if value in self._plains:
            return found
        return spec.dequantize(found, (self.graph.clips[value].scale,))

    def _read(self, spool: Spool, start: int, stop: int) -> Array:
        rows = spool.rows // self.frames
        return spool.read(start * rows, stop * rows)

    # --- running ---------------------------------------------------------------------------------

    def float_session(self, step: Step, fetch: tuple[str, ...] = ()) -> FloatSession:
        """Load the step's float nodes; further values may be fetched.

        One thread, as ONNX Runtime cuts a float product by its threads, and so rounds it.
        """
        return FloatSession(_slice(self.graph, step, self.graph.stage), fetch, threads=1)

    def run_float(
        self, step: Step, fetch: tuple[str, ...] = ()
    ) -> Iterator[tuple[int, int, Mapping[str, Array]]]:
        """Run a step of the float network over all samples, keeping its outputs."""
        session = self.float_session(step, fetch)
        spools = {v: Spool() for v in step.outputs}
        inputs = session.graph.inputs
        for start, stop in self.batches((*inputs, *step.outputs)):
            feeds = {v: self.read_float(v, start, stop) for v in inputs}
            found = session.arrays(feeds)
            for value, spool in spools.items():
                spool.append(found[value])
            yield start, stop, found
        self.floats.update(spools)

    def run_seen(self, step: Step, graph: Graph) -> None:
        """Run a step of the quantized network; ``graph`` holds the step's weights as levels."""
        spools = {v: Spool() for v in step.outputs}
        if step.on_host:
            session = self.float_session(step)
            for start, stop in self.batches((*session.graph.inputs, *step.outputs)):
                feeds = {v: self.read_seen(v, start, stop) for v in session.graph.inputs}
                found = session.arrays(feeds)
                for value, spool in spools.items():
                    spool.append(found[value])
        else:
            whole, nodes = integer_step(graph, step)
            levels = LevelSession(whole, threads=self.threads)
            inputs = [v for v in step.inputs if v not in graph.constants]
            for start, stop in self.batches((*inputs, *step.outputs)):
                values = {level_name(v): self.read_levels(v, start, stop) for v in inputs}
                for node in nodes:
                    values.update(levels.run_node(node, values))
                for value, spool in spools.items():
                    kept = value if value in values else level_name(value)
                    spool.append(values[kept])
        self.seen.update(spools)

    def lose(self, step: Step) -> None:
        """Give up on what a step makes."""
        self.lost.update(step.outputs)

    def can_run(self, step: Step) -> bool:
        """Whether all that a step reads is there."""
        return not self.lost.intersection(step.inputs)

    def forget(self, index: int) -> None:
        """Drop values that no step after number ``index`` reads."""
        for spools in (self.floats, self.seen):
            for value in [v for v in spools if self._last.get(v, -1) <= index]:
                spools.pop(value).close()


def _plain_values(graph: Graph, steps: tuple[Step, ...]) -> set[str]:
    """Return what the quantized network has as floats: made by the CPU, or sums that left."""
    found = {v for step in steps if step.on_host for v in step.outputs}
    for step in steps:
        if step.chain is not None and leaves_as_sums(graph, step.chain):
            found.add(step.chain.output)
    return found


def integer_step(graph: Graph, step: Step) -> tuple[Graph, tuple[Node, ...]]:
    """Return the integer nodes of a step, in a graph that has their types and constants.

    The nodes read levels (``level_name``) and make levels, or floats of sums that leave the chip.
    """
    output = step.outputs[0]
    small = _slice(graph, step, Stage.CALIBRATED)
    leaves = step.chain is not None and leaves_as_sums(graph, step.chain)
    if not leaves:
        # A reader on the chip keeps the layer's sums there, as in the whole graph.
        end = f"{output}.end"
        shape = graph.shape(output)
        sink = ops.Reshape(name=end, inputs=(output,), outputs=(end,), sources=(), shape=shape)
        small = small.replace(
            nodes=(*small.nodes, sink),
            outputs=(end,),
            types={**small.types, end: TensorType(shape, F32)},
            clips={**graph.clips, end: graph.clips[output]},
        )
    whole = Quantize().run(small).graph
    borders = (quantized.Quantize,) if leaves else (quantized.Quantize, quantized.Dequantize)
    nodes = tuple(
        n for n in whole.nodes if not isinstance(n, borders) and n.name != f"{output}.end"
    )
    return whole, nodes


def _slice(graph: Graph, step: Step, stage: Stage) -> Graph:
    inputs = tuple(v for v in step.inputs if v not in graph.constants)
    held = {v for node in step.nodes for v in (*reads(node), *node.outputs)}
    return Graph(
        name=step.nodes[0].name,
        inputs=inputs,
        outputs=step.outputs,
        nodes=step.nodes,
        types={v: t for v, t in graph.types.items() if v in held},
        constants={v: graph.constants[v] for v in step.inputs if v in graph.constants},
        opset=graph.opset,
        domains=graph.domains,
        stage=stage,
        clips=graph.clips,
    )


LOSSES = (CompileError,)
"""What may go wrong when a CPU node is run for its values; layers behind it go without."""
