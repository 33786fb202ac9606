"""Small integer graphs, made by hand: every operator of the chip, with seeded constants."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from lowbitc.compiler.diagnostics import Source
from lowbitc.compiler.elements import F32, I4, I8, I32, ODD2, U4, U8, Array, LevelType
from lowbitc.compiler.ir import ops
from lowbitc.compiler.ir import quantized as q
from lowbitc.compiler.ir.graph import Graph, Region, Stage, Where
from lowbitc.compiler.ir.node import Node
from lowbitc.compiler.ir.types import TensorType
from lowbitc.targets.placement.mesh import Memory, Mesh
from lowbitc.targets.placement.place import place
from lowbitc.targets.program.emit import Origin, emit
from lowbitc.targets.program.load import program_of

if TYPE_CHECKING:
    from lowbitc.targets.program import Program

MESH = Mesh(4, 4, Memory(65536, 65536))
ORIGIN = Origin("lb1", "1", {"bits": "8/4/4"})
_LOW_BITS = 4


@dataclass
class Net:
    """Builds an integer graph; each call adds a node and returns the value that it makes."""

    shape: tuple[int, ...] = (1, 3, 8, 8)
    seed: int = 0
    nodes: list[Node] = field(default_factory=list[Node])
    types: dict[str, TensorType] = field(default_factory=dict[str, TensorType])
    constants: dict[str, Array] = field(default_factory=dict[str, Array])
    reasons: dict[str, str] = field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        """Seed the constants and declare the input."""
        self.random = np.random.default_rng(self.seed)
        self.types["x"] = TensorType(self.shape, F32)

    def put(
        self, kind: type[Node], inputs: tuple[str, ...], held: TensorType, **fields: object
    ) -> str:
        name = f"{kind.op}{len(self.nodes)}"
        common: dict[str, Any] = {
            "name": name,
            "inputs": inputs,
            "outputs": (f"{name}_out",),
            "sources": (Source(f"/{name}", kind.op),),
            **fields,
        }
        self.nodes.append(kind(**common))
        self.types[f"{name}_out"] = held
        return f"{name}_out"

    def constant(self, array: Array, element: LevelType, scale: tuple[float, ...] = ()) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = array
        self.types[name] = TensorType(array.shape, element, scale)
        return name

    def weights(self, shape: tuple[int, ...], element: LevelType, channels: int) -> str:
        levels = self.random.choice(element.levels(), shape).astype(np.int8)
        return self.constant(levels, element, tuple(0.01 * (c + 1) for c in range(channels)))

    def stage(
        self, channels: int, out: LevelType, middle: LevelType | None = None
    ) -> tuple[q.Stage, list[str]]:
        """Make the constants of the output stage that levels of ``out`` take."""
        if out == I32:
            bias = self.random.integers(-50, 50, channels).astype(np.int32)
            return q.Stage.ACCUMULATOR, [self.constant(bias, I32)]
        element = middle or out
        if element.bits <= _LOW_BITS:
            rows = self.random.integers(-200, 200, (channels, element.maximum - element.minimum))
            return q.Stage.THRESHOLDS, [self.constant(np.sort(rows).astype(np.int32), I32)]
        parts = (
            self.random.integers(-40, 40, channels),
            self.random.integers(1 << 22, 1 << 24, channels),
            self.random.integers(24, 28, channels),
            np.full(channels, element.minimum) + np.arange(channels) % 3,
            np.full(channels, element.maximum),
        )
        names = [self.constant(part.astype(np.int32), I32) for part in parts]
        if middle is not None:
            table = self.random.choice(out.levels(), 1 << middle.bits).astype(out.dtype)
            names.append(self.constant(table, out))
        return q.Stage.REQUANTIZE, names

    def quantize(self, value: str = "x", element: LevelType = U8, scale: float = 0.02) -> str:
        held = TensorType(self.types[value].dims, element, (scale,))
        return self.put(q.Quantize, (value,), held)

    def dequantize(self, value: str, axis: int = 1) -> str:
        held = TensorType(self.types[value].dims, F32)
        return self.put(q.Dequantize, (value,), held, axis=axis)

    def conv(
        self,
        x: str,
        channels: int,
        kernel: tuple[int, ...] = (3, 3),
        *,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        pad: int = 1,
        out: LevelType = U4,
        weight: LevelType = I4,
        middle: LevelType | None = None,
    ) -> str:
        frames, inward, *size = self.types[x].dims
        rank = len(size)
        stage, names = self.stage(channels, out, middle)
        after = [
            (n + 2 * pad - dilation * (k - 1) - 1) // stride + 1
            for n, k in zip(size, kernel, strict=True)
        ]
        scale = tuple(0.01 for _ in range(channels)) if out == I32 else (0.05,)
        return self.put(
            q.QConv,
            (x, self.weights((channels, inward // groups, *kernel), weight, channels), *names),
            TensorType((frames, channels, *after), out, scale),
            stage=stage,
            table=middle is not None,
            middle=middle,
            kernel=kernel,
            stride=(stride,) * rank,
            dilation=(dilation,) * rank,
            pads=(pad,) * (2 * rank),
            groups=groups,
        )

    def conv_transpose(self, x: str, channels: int, groups: int = 1) -> str:
        frames, inward, *size = self.types[x].dims
        stage, names = self.stage(channels, U4)
        w = self.weights((inward, channels // groups, 3, 3), I4, channels)
        return self.put(
            q.QConvTranspose,
            (x, w, *names),
            TensorType((frames, channels, *(2 * n for n in size)), U4, (0.05,)),
            stage=stage,
            kernel=(3, 3),
            stride=(2, 2),
            dilation=(1, 1),
            pads=(1, 1, 1, 1),
            output_padding=(1, 1),
            groups=groups,
        )

    def dense(self, x: str, units: int, out: LevelType = I32, weight: LevelType = I8) -> str:
        *front, inward = self.types[x].dims
        stage, names = self.stage(units, out)
        scale = tuple(0.01 * (i + 1) for i in range(units)) if out == I32 else (0.1,)
        held = TensorType((*front, units), out, scale)
        return self.put(
            q.QDense, (x, self.weights((units, inward), weight, units), *names), held, stage=stage
        )

    def max_pool(self, x: str) -> str:
        frames, channels, *size = self.types[x].dims
        held = self.types[x]
        after = TensorType(
            (frames, channels, *((n + 1) // 2 for n in size)), held.element, held.scale
        )
        rank = len(size)
        return self.put(
            q.QMaxPool,
            (x,),
            after,
            kernel=(3,) * rank,
            stride=(2,) * rank,
            dilation=(1,) * rank,
            pads=(1,) * (2 * rank),
        )

    def border_mean(self, x: str, out: LevelType = U8) -> str:
        """Add an average pool of 3 x 3 whose padding does not count."""
        dims = self.types[x].dims
        stage, names = self.stage(dims[1], out)
        return self.put(
            q.QAveragePool,
            (x, *names),
            TensorType(dims, out, (0.05,)),
            stage=stage,
            kernel=(3, 3),
            stride=(1, 1),
            pads=(1, 1, 1, 1),
            count_padding=False,
        )

    def mean(self, x: str, out: LevelType = U8) -> str:
        frames, channels, *size = self.types[x].dims
        stage, names = self.stage(channels, out)
        rank = len(size)
        return self.put(
            q.QAveragePool,
            (x, *names),
            TensorType((frames, channels, *(1,) * rank), out, (0.05,)),
            stage=stage,
            kernel=tuple(size),
            stride=(1,) * rank,
            pads=(0,) * (2 * rank),
        )

    def add(self, a: str, b: str) -> str:
        held = TensorType(self.types[a].dims, I8, (0.05,))
        return self.put(q.QAdd, (a, b), held, multiplier_a=900, multiplier_b=1100, shift=10)

    def table(self, x: str, out: LevelType = U4) -> str:
        source = self.types[x].levels or U8
        table = self.random.choice(out.levels(), 1 << source.bits).astype(out.dtype)
        held = TensorType(self.types[x].dims, out, (0.05,))
        return self.put(q.QTable, (x, self.constant(table, out)), held)

    def concat(self, *values: str, axis: int = 1) -> str:
        dims = list(self.types[values[0]].dims)
        dims[axis] = sum(self.types[v].dims[axis] for v in values)
        held = self.types[values[0]]
        return self.put(
            q.QConcat, values, TensorType(tuple(dims), held.element, held.scale), axis=axis
        )

    def moved(self, kind: type[Node], x: str, after: tuple[int, ...], **fields: object) -> str:
        held = self.types[x]
        return self.put(kind, (x,), TensorType(after, held.element, held.scale), **fields)

    def flat(self, x: str) -> str:
        frames, *rest = self.types[x].dims
        shape = (frames, int(np.prod(rest)))
        return self.moved(q.QReshape, x, shape, shape=shape)

    def softmax(self, x: str) -> str:
        made = self.put(ops.Softmax, (x,), TensorType(self.types[x].dims, F32), axis=1)
        self.reasons[self.nodes[-1].name] = "LB200: softmax stays on the CPU"
        return made

    def graph(self, *outputs: str) -> Graph:
        """Return the graph, partitioned by runs of nodes that are on the same side."""
        regions: list[Region] = []
        for node in self.nodes:
            where = Where.HOST if node.name in self.reasons else Where.DEVICE
            if regions and regions[-1].where is where:
                regions[-1] = Region(where, (*regions[-1].nodes, node.name))
            else:
                regions.append(Region(where, (node.name,)))
        return Graph(
            name="net",
            inputs=("x",),
            outputs=outputs,
            nodes=tuple(self.nodes),
            types=self.types,
            constants=self.constants,
            stage=Stage.PARTITIONED,
            host_reasons=self.reasons,
            regions=tuple(regions),
        )


def every_operator(seed: int = 0) -> Graph:
    """Return a graph with every operator that the chip runs, a piece on the CPU, two launches."""
    net = Net(seed=seed)
    x = net.quantize()
    stem = net.conv(x, 8)
    wide = net.conv(stem, 8, groups=8, out=I8, weight=ODD2)
    joined = net.add(wide, net.conv(stem, 8, kernel=(1, 1), pad=0, out=I8))
    low = net.table(joined)
    both = net.concat(low, net.conv(joined, 4, out=U4, middle=None))
    small = net.max_pool(both)
    frames, channels, high, wide_ = net.types[small].dims
    cut = net.moved(
        q.QSlice,
        small,
        (frames, channels, high - 1, wide_),
        starts=(1,),
        ends=(high,),
        axes=(2,),
        steps=(1,),
    )
    padded = net.moved(q.QPad, cut, (frames, channels, high, wide_), pads=(0, 0, 1, 0, 0, 0, 0, 0))
    large = net.moved(
        q.QUpsample, padded, (frames, channels, 2 * high, 2 * wide_), factors=(1, 1, 2, 2)
    )
    back = net.conv_transpose(large, 6, groups=2)
    turned = net.moved(q.QTranspose, back, (frames, 6, 4 * wide_, 4 * high), perm=(0, 1, 3, 2))
    smooth = net.conv(turned, 6, out=U8, middle=I8, stride=2)
    mean = net.flat(net.mean(smooth))
    logits = net.dequantize(net.dense(mean, 5))
    soft = net.softmax(logits)
    again = net.quantize(soft, U8, 1 / 255)
    return net.graph(net.dequantize(net.dense(again, 3, weight=I4)), logits)


def small_graph(seed: int = 0) -> Graph:
    """Return a convolution, a pool and a dense layer, all on the chip."""
    net = Net(seed=seed)
    stem = net.conv(net.quantize(), 6)
    return net.graph(net.dequantize(net.dense(net.flat(net.max_pool(stem)), 4)))


def program(graph: Graph, mesh: Mesh = MESH) -> Program:
    """Place a graph, write it, and read it back."""
    return program_of(emit(graph, place(graph, mesh), ORIGIN))


def inputs(count: int, seed: int = 1) -> dict[str, Array]:
    """Return n random samples."""
    random = np.random.default_rng(seed)
    return {"x": random.uniform(-1, 5, (count, 3, 8, 8)).astype(np.float32)}
