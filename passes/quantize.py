"""Rewrite the chip's part of a calibrated graph into integer nodes with their output stages.

Level values are called ``NAME.levels``, where NAME is the user's tensor; a Quantize node makes
them from values of the CPU, a Dequantize node makes NAME where the CPU reads what the chip made.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, TypedDict

import numpy as np

from lowbitc.compiler.diagnostics import Source, raise_errors
from lowbitc.compiler.elements import I32
from lowbitc.compiler.ir import ops, quantized
from lowbitc.compiler.ir.graph import Graph, Stage, reads
from lowbitc.compiler.ir.groups import CLIPS, TABLES
from lowbitc.compiler.ir.types import Clip, TensorType
from lowbitc.compiler.manager import PassResult
from lowbitc.compiler.numerics.multipliers import choose_add
from lowbitc.passes.chains import Chain, clip_bounds, find_chains
from lowbitc.passes.fuse_output_stage import StageBuilder
from lowbitc.passes.plan_levels import leaves_as_sums
from lowbitc.passes.tabulate import activation_table, rescale_table

if TYPE_CHECKING:
    from lowbitc.compiler.elements import Array, LevelType
    from lowbitc.compiler.ir.node import Node


@dataclass(frozen=True, slots=True)
class Quantize:
    """Make the integer graph; what stays on the CPU is kept as it is."""

    name: ClassVar[str] = "quantize"

    def run(self, graph: Graph) -> PassResult:
        """Return the graph in stage QUANTIZED.

        Raises CompileError LB403 when a layer's sums could overflow 32 bits.
        """
        return PassResult(_Rewrite(graph).run(), changed=True)


def level_name(value: str) -> str:
    """Name the levels of a user's tensor."""
    return f"{value}.levels"


class _Rewrite:
    """Builds the new node list front to back."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.nodes: list[Node] = []
        self.types = dict(graph.types)
        self.constants = dict(graph.constants)
        self.stages = StageBuilder(graph, self.constants, self.types)
        self.made: set[str] = set()
        """Tensors of the user whose levels the chip makes."""
        self.sums: set[str] = set()
        self.floats: set[str] = set(graph.inputs) | set(graph.constants)

    def run(self) -> Graph:
        graph = self.graph
        chains = {c.compute.name: c for c in find_chains(graph)}
        inner = {n.name for c in chains.values() for n in c.nodes[1:]}
        for node in graph.nodes:
            if node.name in graph.host_reasons:
                for value in reads(node):
                    self.to_float(value)
                self.nodes.append(node)
                self.floats.update(node.outputs)
            elif node.name in chains:
                self.layer(chains[node.name])
            elif node.name not in inner:
                self.other(node)
        for value in graph.outputs:
            self.to_float(value)
        raise_errors(self.stages.findings)
        after = graph.replace(
            nodes=tuple(self.nodes),
            types=self.types,
            constants=self.constants,
            stage=Stage.QUANTIZED,
        )
        return after.pruned()

    # --- borders ---------------------------------------------------------------------------------

    def to_float(self, value: str) -> None:
        """Dequantize a value that the CPU reads, once."""
        if value in self.floats or value not in self.made:
            return
        self.floats.add(value)
        sources = self.maker_sources(value)
        held = self.types[level_name(value)]
        rank = len(self.graph.shape(value))
        dense = isinstance(self.graph.producers().get(value), ops.Dense)
        axis = rank - 1 if dense else 1
        by_channel = isinstance(held, TensorType) and len(held.scale) > 1
        self.nodes.append(
            quantized.Dequantize(
                name=f"{value}.dequantize",
                inputs=(level_name(value),),
                outputs=(value,),
                sources=sources,
                axis=axis if by_channel else min(1, rank - 1),
            )
        )

    def maker_sources(self, value: str) -> tuple[Source, ...]:
        maker = self.graph.producers().get(value)
        return () if maker is None else maker.sources

    def levels(self, value: str) -> str:
        """Return the name of a value's levels, quantizing what the CPU made, once."""
        name = level_name(value)
        if value not in self.made:
            self.made.add(value)
            self.declare(value, self.graph.clips[value])
            self.nodes.append(
                quantized.Quantize(
                    name=f"{value}.quantize",
                    inputs=(value,),
                    outputs=(name,),
                    sources=self.maker_sources(value),
                )
            )
        return name

    def declare(self, value: str, clip: Clip) -> None:
        shape = self.graph.shape(value)
        self.types[level_name(value)] = TensorType(shape, clip.element, (clip.scale,))

    def constant(self, name: str, array: Array, element: LevelType) -> str:
        self.constants[name] = array
        self.types[name] = TensorType(array.shape, element)
        return name

    # --- layers ----------------------------------------------------------------------------------

    def layer(self, chain: Chain) -> None:
        if isinstance(chain.compute, ops.Add):
            self.add(chain)
        else:
            self.summing(chain)

    def add(self, chain: Chain) -> None:
        a, b = (self.levels(v) for v in chain.compute.inputs)
        out = self.graph.clips[chain.output]
        scale_a, scale_b = (self.graph.clips[v].scale for v in chain.compute.inputs)
        first, second, shift = choose_add(scale_a / out.scale, scale_b / out.scale)
        self.finish(chain.output, out)
        table = self.bounds_table(chain, out)
        made = level_name(chain.output)
        if table is not None:
            made = f"{made}.sum"
            self.types[made] = self.types[level_name(chain.output)]
        self.nodes.append(
            quantized.QAdd(
                name=chain.compute.name,
                inputs=(a, b),
                outputs=(made,),
                sources=chain.sources,
                multiplier_a=first,
                multiplier_b=second,
                shift=shift,
            )
        )
        if table is not None:
            name = f"{chain.compute.name}.bounds"
            self.nodes.append(
                quantized.QTable(
                    name=name,
                    inputs=(made, self.constant(f"{name}.levels", table, out.element)),
                    outputs=(level_name(chain.output),),
                    sources=chain.sources,
                )
            )

    def bounds_table(self, chain: Chain, out: Clip) -> Array | None:
        """Return the table for a clip that is narrower than the levels, which an Add lacks."""
        levels = out.element.levels()
        low, high = (float(bound[0]) for bound in clip_bounds(self.graph, chain.activation, 1))
        held = np.clip(levels, np.floor(low / out.scale + 0.5), np.floor(high / out.scale + 0.5))
        return None if np.array_equal(held, levels) else held.astype(out.element.dtype)

    def finish(self, value: str, clip: Clip) -> None:
        self.made.add(value)
        self.declare(value, clip)

    def summing(self, chain: Chain) -> None:
        x = self.levels(chain.compute.inputs[0])
        source = self.graph.clips[chain.compute.inputs[0]]
        if leaves_as_sums(self.graph, chain):
            self.made.add(chain.output)
            built = self.stages.sums(chain, source)
            shape = self.graph.shape(chain.output)
            self.types[level_name(chain.output)] = TensorType(shape, I32, built.scale)
        else:
            built = self.stages.levels(chain, source)
            self.finish(chain.output, self.graph.clips[chain.output])
        self.nodes.append(self.stages.node(chain, x, level_name(chain.output), built))

    # --- the rest --------------------------------------------------------------------------------

    def other(self, node: Node) -> None:
        output = node.outputs[0]
        clip = self.graph.clips[output]
        if isinstance(node, ops.Concat):
            inputs = tuple(self.rescaled(value, node, clip) for value in node.inputs)
            self.finish(output, clip)
            self.nodes.append(
                quantized.QConcat(
                    name=node.name,
                    inputs=inputs,
                    outputs=(level_name(output),),
                    sources=node.sources,
                    axis=node.axis,
                )
            )
            return
        x = self.levels(node.inputs[0])
        source = self.graph.clips[node.inputs[0]]
        self.finish(output, clip)
        if isinstance(node, (*CLIPS, *TABLES)):
            table = activation_table(self.graph, node, source, clip)
            self.nodes.append(
                quantized.QTable(
                    name=node.name,
                    inputs=(x, self.constant(f"{node.name}.table", table, clip.element)),
                    outputs=(level_name(output),),
                    sources=node.sources,
                )
            )
        else:
            self.nodes.append(_moved(self.graph, node, x, level_name(output)))

    def rescaled(self, value: str, node: Node, clip: Clip) -> str:
        """Return a value's levels in the scale of a Concat, through a table where they differ."""
        x = self.levels(value)
        source = self.graph.clips[value]
        if source == clip:
            return x
        name = f"{node.name}.{value}.rescaled"
        if name not in self.types:
            table = rescale_table(source, clip)
            self.types[name] = TensorType(self.graph.shape(value), clip.element, (clip.scale,))
            self.nodes.append(
                quantized.QTable(
                    name=f"{name}.table",
                    inputs=(x, self.constant(f"{name}.levels", table, clip.element)),
                    outputs=(name,),
                    sources=node.sources,
                )
            )
        return name


class _Common(TypedDict):
    """The fields that all nodes share."""

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    sources: tuple[Source, ...]


def _moved(graph: Graph, node: Node, x: str, y: str) -> Node:
    """Make the integer twin of a node that only moves or compares levels."""
    common = _Common(name=node.name, inputs=(x,), outputs=(y,), sources=node.sources)
    shape = graph.shape(node.inputs[0])
    if isinstance(node, ops.MaxPool):
        return quantized.QMaxPool(
            **common,
            kernel=node.kernel,
            stride=node.stride,
            dilation=node.dilation,
            pads=ceil_pads(graph, node),
        )
    if isinstance(node, ops.GlobalMaxPool):
        rank = len(shape) - 2
        return quantized.QMaxPool(
            **common,
            kernel=shape[2:],
            stride=(1,) * rank,
            dilation=(1,) * rank,
            pads=(0,) * (2 * rank),
        )
    if isinstance(node, ops.Transpose):
        return quantized.QTranspose(**common, perm=node.perm)
    if isinstance(node, ops.Slice):
        starts, ends = _normal_bounds(node, shape)
        return quantized.QSlice(
            **common, starts=starts, ends=ends, axes=node.axes, steps=node.steps
        )
    if isinstance(node, ops.Upsample):
        return quantized.QUpsample(**common, factors=node.factors)
    if isinstance(node, ops.Pad):
        return quantized.QPad(**common, pads=node.pads)
    return quantized.QReshape(**common, shape=graph.shape(node.outputs[0]))


def ceil_pads(graph: Graph, node: ops.MaxPool | ops.AveragePool) -> tuple[int, ...]:
    """Return the pads that give the output its size where ceil_mode adds windows at the end."""
    rank = len(node.kernel)
    begins, ends = node.pads[:rank], list(node.pads[rank:])
    seen = graph.shape(node.inputs[0])[2:]
    wanted = graph.shape(node.outputs[0])[2:]
    for axis in range(rank):
        reach = node.dilation[axis] * (node.kernel[axis] - 1) + 1
        needed = (wanted[axis] - 1) * node.stride[axis] + reach
        ends[axis] = max(ends[axis], needed - seen[axis] - begins[axis])
    return (*begins, *ends)


def _normal_bounds(
    node: ops.Slice, shape: tuple[int, ...]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    bounds = [
        slice(start, end, step).indices(shape[axis])
        for start, end, axis, step in zip(
            node.starts, node.ends, node.axes, node.steps, strict=True
        )
    ]
    return tuple(b[0] for b in bounds), tuple(b[1] for b in bounds)
