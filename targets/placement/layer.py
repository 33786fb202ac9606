"""What a layer asks of neural processors: channels, weights, constants and lines of its input.

Layers that compute have NPs of their own, and so have those that must hold levels back: Add and
Concat, whose operands arrive at different times, and changes of layout that turn the order of
levels around. Slices, enlargements, padding and flattening cost no NP: routers write levels to
computed addresses.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lowbitc.compiler.diagnostics import InternalError
from lowbitc.compiler.ir.quantized import (
    QAdd,
    QAveragePool,
    QConcat,
    QConv,
    QConvTranspose,
    QDense,
    QMaxPool,
    QReshape,
    QTable,
    QTranspose,
    Stage,
    StagedNode,
)
from lowbitc.targets.container import packed_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lowbitc.compiler.diagnostics import Source
    from lowbitc.compiler.elements import LevelType
    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.compiler.ir.node import Node

REQUANTIZE_BYTES = 12
"""Bias 4, multiplier and shift 4, low 2, high 2."""
WORD_BYTES = 4
_PLANE = 4
"""Dimensions of a tensor with rows and columns: frames, channels, rows, columns."""


@dataclass(frozen=True, slots=True)
class Window:
    """How a layer walks over rows or columns: output i reads inputs from i · stride on.

    ``reach`` inputs are read for one output; ``size`` is the input's extent, ``outputs`` the
    output's. For a transposed convolution ``stride`` is 1 / its stride.
    """

    reach: int = 1
    stride: float = 1.0
    size: int = 1
    outputs: int = 1

    def span(self, outputs: int) -> int:
        """Return how many inputs a run of so many outputs reads."""
        return min(math.ceil((outputs - 1) * self.stride) + self.reach, self.size)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One node, or a node with what its NPs run beside it, as placement sees it.

    ``outputs`` are output channels, ``inputs`` input channels of one group, ``taps`` weights for
    one input and one output channel. ``held_rows`` are rows that wait in the NP: of the input, or
    of open windows of a pool; ``input_bits`` are those of one number that waits. Every NP
    holds a table of ``table_bytes``, or weights of ``beside_bytes`` of another node; it sees at
    most ``most_columns`` columns of the input (0: no bound).
    """

    name: str
    sources: tuple[Source, ...]
    outputs: int
    inputs: int
    groups: int
    taps: int
    weight: LevelType | None
    stage_bytes: int
    table_bytes: int
    held_rows: int
    columns: Window
    input_bits: int
    beside_bytes: int = 0
    most_columns: int = 0

    @property
    def shared_bytes(self) -> int:
        """Bytes that every NP holds, however many channels it has."""
        return self.table_bytes + self.beside_bytes

    @property
    def outputs_per_group(self) -> int:
        """Output channels of one group."""
        return self.outputs // self.groups

    def weight_bytes(self, channels: int, inputs: int) -> int:
        """Return the bytes of the packed weights of so many output and input channels."""
        if self.weight is None:
            return 0
        return packed_bytes(channels * inputs * self.taps, self.weight.bits)

    def constant_bytes(self, channels: int) -> int:
        """Return the bytes of thresholds or requantize constants, and of what all NPs hold."""
        return channels * self.stage_bytes + self.shared_bytes

    def held_channels(self, channels: int, inputs: int) -> int:
        """Return how many input channels so many output channels read."""
        return -(-channels // self.outputs_per_group) * inputs

    def activation_bytes(self, held_channels: int, columns: int) -> int:
        """Return the bytes of the input's lines that wait for ``columns`` columns of output."""
        levels = self.held_rows * self.columns.span(columns) * held_channels
        return packed_bytes(levels, self.input_bits)


def describe_layer(
    node: Node, graph: Graph, held_rows: Mapping[str, int] | None = None
) -> Layer | None:
    """Return what a node asks of NPs; None where it asks for none.

    ``held_rows`` says of joins how many rows the operand that comes first must wait.
    """
    return _describe(node, graph, held_rows or {})


@functools.singledispatch
def _describe(node: Node, graph: Graph, held_rows: Mapping[str, int]) -> Layer | None:  # noqa: ARG001
    """Describe a node that routers do: nothing."""
    return None


def stage_bytes(node: Node, graph: Graph) -> int:
    """Return the bytes of a channel's constants in the output stage."""
    if not isinstance(node, StagedNode):
        return 0
    if node.stage is Stage.THRESHOLDS:
        element = element_of(graph, node.outputs[0])
        return (element.maximum - element.minimum) * WORD_BYTES
    return REQUANTIZE_BYTES if node.stage is Stage.REQUANTIZE else WORD_BYTES


def table_bytes(node: Node, graph: Graph) -> int:
    """Return the bytes of the table that each NP of a node holds, 0 without one."""
    if isinstance(node, StagedNode):
        return 1 << node.middle.bits if node.table and node.middle else 0
    return 1 << element_of(graph, node.inputs[0]).bits if isinstance(node, QTable) else 0


def element_of(graph: Graph, value: str) -> LevelType:
    """Return the level type of a value that the verifier has seen."""
    found = graph.tensor(value).levels
    if found is None:
        message = f"{value} holds no levels"
        raise InternalError(message)
    return found


def _plane(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return rows and columns; a sequence has rows only, a vector neither."""
    rows, columns, *_ = (*shape[2:], 1, 1)
    return rows, columns


@_describe.register(QConv)
def _walk(node: QConv, graph: Graph, held_rows: Mapping[str, int]) -> Layer:
    del held_rows
    x, y = graph.shape(node.inputs[0]), graph.shape(node.outputs[0])
    columns = Window()
    if len(x) == _PLANE:
        reach = node.dilation[1] * (node.kernel[1] - 1) + 1
        columns = Window(reach, node.stride[1], x[3], y[3])
    return Layer(
        name=node.name,
        sources=node.sources,
        outputs=y[1],
        inputs=x[1] // node.groups,
        groups=node.groups,
        taps=math.prod(node.kernel),
        weight=element_of(graph, node.inputs[1]),
        held_rows=min(node.dilation[0] * (node.kernel[0] - 1) + 1, _plane(x)[0]),
        columns=columns,
        input_bits=element_of(graph, node.inputs[0]).bits,
        stage_bytes=stage_bytes(node, graph),
        table_bytes=table_bytes(node, graph),
    )


@_describe.register(QMaxPool)
@_describe.register(QAveragePool)
def _pool(node: QMaxPool | QAveragePool, graph: Graph, held_rows: Mapping[str, int]) -> Layer:
    """Describe a pool: it keeps a running sum or maximum for every window that is open."""
    del held_rows
    y = graph.shape(node.outputs[0])
    dilation = 1 if isinstance(node, QAveragePool) else node.dilation[0]
    reach = dilation * (node.kernel[0] - 1) + 1
    rows, columns = _plane(y)
    sums = isinstance(node, QAveragePool)
    return Layer(
        name=node.name,
        sources=node.sources,
        outputs=y[1],
        inputs=1,
        groups=y[1],
        taps=math.prod(node.kernel),
        weight=None,
        stage_bytes=stage_bytes(node, graph),
        table_bytes=table_bytes(node, graph),
        held_rows=min(-(-reach // node.stride[0]), rows),
        columns=Window(1, 1, columns, columns),
        input_bits=8 * WORD_BYTES if sums else element_of(graph, node.inputs[0]).bits,
    )


@_describe.register(QConvTranspose)
def _walk_back(node: QConvTranspose, graph: Graph, held_rows: Mapping[str, int]) -> Layer:
    del held_rows
    x, y = graph.shape(node.inputs[0]), graph.shape(node.outputs[0])
    reach = [
        -(-(d * (k - 1) + 1) // s)
        for k, s, d in zip(node.kernel, node.stride, node.dilation, strict=True)
    ]
    columns = Window()
    if len(node.kernel) > 1:
        columns = Window(min(reach[1] + 1, x[3]), 1 / node.stride[1], x[3], y[3])
    return Layer(
        name=node.name,
        sources=node.sources,
        outputs=y[1],
        inputs=x[1] // node.groups,
        groups=node.groups,
        taps=math.prod(node.kernel),
        weight=element_of(graph, node.inputs[1]),
        held_rows=min(reach[0], _plane(x)[0]),
        columns=columns,
        input_bits=element_of(graph, node.inputs[0]).bits,
        stage_bytes=stage_bytes(node, graph),
        table_bytes=table_bytes(node, graph),
    )


@_describe.register(QDense)
def _dense(node: QDense, graph: Graph, held_rows: Mapping[str, int]) -> Layer:
    del held_rows
    x, y = graph.shape(node.inputs[0]), graph.shape(node.outputs[0])
    return Layer(
        name=node.name,
        sources=node.sources,
        outputs=y[-1],
        inputs=x[-1],
        groups=1,
        taps=1,
        weight=element_of(graph, node.inputs[1]),
        held_rows=1,
        columns=Window(),
        input_bits=element_of(graph, node.inputs[0]).bits,
        stage_bytes=stage_bytes(node, graph),
        table_bytes=table_bytes(node, graph),
    )


@_describe.register(QAdd)
@_describe.register(QConcat)
def _join(node: QAdd | QConcat, graph: Graph, held_rows: Mapping[str, int]) -> Layer:
    return _pointwise(node, graph, held_rows.get(node.name, 1))


@_describe.register(QTable)
def _table(node: QTable, graph: Graph, held_rows: Mapping[str, int]) -> Layer:
    del held_rows
    return _pointwise(node, graph, 1, columns=1)


@_describe.register(QTranspose)
def _turn(node: QTranspose, graph: Graph, held_rows: Mapping[str, int]) -> Layer:
    del held_rows
    return _pointwise(node, graph, _plane(graph.shape(node.inputs[0]))[0])


@_describe.register(QReshape)
def _reshape(node: QReshape, graph: Graph, held_rows: Mapping[str, int]) -> Layer | None:
    before, after = graph.shape(node.inputs[0]), graph.shape(node.outputs[0])
    if len(after) < 3 or _squeezed(before) == _squeezed(after):  # noqa: PLR2004 - to a vector
        return None
    del held_rows
    return _pointwise(node, graph, _plane(before)[0])


def _squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(d for d in shape if d != 1)


def _pointwise(
    node: Node,
    graph: Graph,
    held_rows: int,
    *,
    columns: int = 0,
) -> Layer:
    """Describe a layer whose channels do not mix."""
    x = graph.shape(node.outputs[0] if isinstance(node, QConcat) else node.inputs[0])
    channels = x[1] if len(x) > 1 else 1
    width = columns or _plane(x)[1]
    deeper = math.prod(x[_PLANE:]) if not columns else 1
    return Layer(
        name=node.name,
        sources=node.sources,
        outputs=channels,
        inputs=1,
        groups=channels,
        taps=1,
        weight=None,
        stage_bytes=0,
        table_bytes=table_bytes(node, graph),
        held_rows=held_rows * deeper,
        columns=Window(1, 1, width, width),
        input_bits=element_of(graph, node.inputs[0]).bits,
    )
