"""Build a plan layer by layer, as a network is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lowbitc.targets.native.fuse import fuse_additions
from lowbitc.targets.native.layers import (
    AddLayer,
    Axis,
    Channels,
    ConvLayer,
    CopyLayer,
    EnterLayer,
    Layer,
    MaxPoolLayer,
    SumPoolLayer,
    Value,
)
from lowbitc.targets.native.plan import Plan, PlanLayout
from lowbitc.targets.native.stages import Raw, Stage, Table
from lowbitc.targets.native.window import Window

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lowbitc.compiler.elements import Int8, Int32
    from lowbitc.targets.native.additions import AddStage

_ONE = Window()


class PlanBuilder:
    """Collects layers; each method returns the value that its layer computes.

    Values are levels of (channels, height, width); one-dimensional data has height 1. A wrong
    argument is a ValueError that names the layer.
    """

    def __init__(self) -> None:
        """Start with no layers."""
        self._layers: list[Layer] = []
        self._values: list[Value] = []
        self._inputs: list[EnterLayer] = []
        self._outputs: list[Value] = []
        self._counted: list[Channels] = []

    def input(self, shape: tuple[int, int, int], lo: int = 0, hi: int = 255) -> Value:
        """Add an input of levels in [lo, hi]; int8 if lo is negative, else uint8."""
        return self._input(shape, lo, hi, 0.0)

    def quantized_input(self, shape: tuple[int, int, int], scale: float, lo: int, hi: int) -> Value:
        """Add a float32 input, read as clamp(round-half-even(x / scale), lo, hi).

        The division is float32's.
        """
        if not scale > 0:
            raise ValueError(f"an input's scale is positive, found {scale}")
        return self._input(shape, lo, hi, scale)

    def conv(
        self,
        x: Value,
        weights: Int8,
        stage: Stage,
        window: Window = _ONE,
        *,
        groups: int = 1,
        name: str = "",
    ) -> Value:
        """Convolve with weights [out, in / groups, kh, kw]; the window's kernel is theirs."""
        name = name or f"conv{len(self._layers)}"
        outputs, depth, *kernel = weights.shape
        if tuple(kernel) != window.kernel or x.shape[0] != depth * groups or outputs % groups:
            raise ValueError(
                f"{name}: weights {weights.shape} for {x.shape}, {window} and {groups} groups"
            )
        height, width = window.output_size(x.shape[1], x.shape[2])
        value = self._staged(name, (outputs, height, width), stage)
        ordered = np.ascontiguousarray(weights.transpose(0, 2, 3, 1), np.int8)
        self._layers.append(ConvLayer(name, x, value, ordered, window, groups, stage))
        return value

    def dense(self, x: Value, weights: Int8, stage: Stage, *, name: str = "") -> Value:
        """Multiply each frame, flattened channels first, with weights [out, in]."""
        name = name or f"dense{len(self._layers)}"
        if weights.shape[1] != x.size_bytes:
            raise ValueError(f"{name}: weights {weights.shape} for {x.shape}")
        kernel = weights.reshape(weights.shape[0], *x.shape)
        return self.conv(x, kernel, stage, Window((x.shape[1], x.shape[2])), name=name)

    def max_pool(self, x: Value, window: Window, *, name: str = "") -> Value:
        """Take each window's largest level; padding is not looked at."""
        name = name or f"max_pool{len(self._layers)}"
        height, width = window.output_size(x.shape[1], x.shape[2])
        value = self._value((x.shape[0], height, width), min(x.lo, 0), max(x.hi, 0))
        self._layers.append(MaxPoolLayer(name, x, value, window))
        return value

    def sum_pool(
        self,
        x: Value,
        stage: Stage,
        window: Window | None = None,
        *,
        factors: Int32 | None = None,
        name: str = "",
    ) -> Value:
        """Put the sum of each window's levels (all of them without a window) through a stage.

        With ``factors``, [rows, columns] of the output and positive, each sum is multiplied first.
        """
        name = name or f"sum_pool{len(self._layers)}"
        window = window or Window((x.shape[1], x.shape[2]))
        height, width = window.output_size(x.shape[1], x.shape[2])
        value = self._staged(name, (x.shape[0], height, width), stage)
        if factors is not None and (factors.shape != (height, width) or factors.min() < 1):
            raise ValueError(f"{name}: factors {factors.shape} for {height} x {width} sums")
        self._layers.append(SumPoolLayer(name, x, value, window, stage, factors))
        return value

    def add(self, a: Value, b: Value, stage: AddStage, *, name: str = "") -> Value:
        """Add two values of one shape."""
        name = name or f"add{len(self._layers)}"
        if a.shape != b.shape:
            raise ValueError(f"{name}: cannot add {a.shape} and {b.shape}")
        value = self._tabled(a.shape, stage.lo, stage.hi, stage.table)
        self._layers.append(AddLayer(name, a, b, value, stage))
        return value

    def concat(
        self, values: Sequence[Value], tables: Sequence[Table | None] = (), *, name: str = ""
    ) -> Value:
        """Join values on their channels, each through its table if it has one."""
        name = name or f"concat{len(self._layers)}"
        tables = tables or [None] * len(values)
        if len({v.shape[1:] for v in values}) != 1 or len(tables) != len(values):
            raise ValueError(
                f"{name}: cannot join {[v.shape for v in values]} with {len(tables)} tables"
            )
        ranges = [
            (v.lo, v.hi) if t is None else (min(t.levels), max(t.levels))
            for v, t in zip(values, tables, strict=True)
        ]
        shape = (sum(v.shape[0] for v in values), *values[0].shape[1:])
        joined = self._value(shape, min(r[0] for r in ranges), max(r[1] for r in ranges))
        start = 0
        for part, table in zip(values, tables, strict=True):
            every = (Axis(), Axis())
            self._copy(name, part, joined, (part.shape[0], 0, start), every, table)
            start += part.shape[0]
        return joined

    def slice(
        self,
        x: Value,
        starts: tuple[int, int, int],
        sizes: tuple[int, int, int],
        steps: tuple[int, int] = (1, 1),
        *,
        name: str = "",
    ) -> Value:
        """Take channels, rows and columns; only rows and columns have steps."""
        value = self._value(sizes, x.lo, x.hi)
        axes = (Axis(starts[1], steps[0]), Axis(starts[2], steps[1]))
        self._copy(name, x, value, (sizes[0], starts[0], 0), axes, None)
        return value

    def resize(self, x: Value, factors: tuple[int, int], *, name: str = "") -> Value:
        """Repeat every row and column a whole number of times."""
        channels, height, width = x.shape
        value = self._value((channels, height * factors[0], width * factors[1]), x.lo, x.hi)
        axes = (Axis(divisor=factors[0]), Axis(divisor=factors[1]))
        self._copy(name, x, value, (channels, 0, 0), axes, None)
        return value

    def table(self, x: Value, table: Table, *, name: str = "") -> Value:
        """Replace every level by its entry in a table."""
        value = self._tabled(x.shape, x.lo, x.hi, table)
        self._copy(name, x, value, (x.shape[0], 0, 0), (Axis(), Axis()), table)
        return value

    def output(self, x: Value) -> None:
        """Return this value from runs."""
        self._outputs.append(x)

    def count(self, x: Value, first: int = 0, channels: int = 0) -> None:
        """Count nonzero levels by position in every run, of some channels or all from ``first``."""
        self._counted.append(Channels(x, first, channels or x.shape[0] - first))

    def build(self, *, path: str = "", batch: int = 8) -> Plan:
        """Choose and prove kernels and lay out memory.

        ``path`` names an instruction-set path (the fastest by default); ``batch`` is the batch
        size that choices are made for, any size runs.
        """
        kept = frozenset(v.index for v in (*self._outputs, *(c.value for c in self._counted)))
        layers = fuse_additions(self._layers, kept)
        layout = PlanLayout(
            tuple(self._values),
            tuple(layers),
            tuple(self._inputs),
            tuple(self._outputs),
            tuple(self._counted),
        )
        return Plan(layout, path=path, batch=batch)

    def _value(self, shape: tuple[int, int, int], lo: int, hi: int, *, raw: bool = False) -> Value:
        value = Value(len(self._values), shape, lo, hi, raw)
        self._values.append(value)
        return value

    def _input(self, shape: tuple[int, int, int], lo: int, hi: int, scale: float) -> Value:
        value = self._value(shape, lo, hi)
        layer = EnterLayer(value, len(self._inputs), scale)
        self._layers.append(layer)
        self._inputs.append(layer)
        return value

    def _staged(self, name: str, shape: tuple[int, int, int], stage: Stage) -> Value:
        if isinstance(stage, Raw):
            return self._value(shape, -(2**31), 2**31 - 1, raw=True)
        if stage.channels != shape[0]:
            raise ValueError(f"{name}: a stage of {stage.channels} channels for {shape[0]} outputs")
        return self._tabled(shape, *stage.range, stage.table)

    def _tabled(self, shape: tuple[int, int, int], lo: int, hi: int, table: Table | None) -> Value:
        if table is not None:
            lo, hi = min(table.levels), max(table.levels)
        return self._value(shape, lo, hi)

    def _copy(
        self,
        name: str,
        x: Value,
        y: Value,
        channels: tuple[int, int, int],
        axes: tuple[Axis, Axis],
        table: Table | None,
    ) -> None:
        name = name or f"copy{len(self._layers)}"
        self._layers.append(CopyLayer(name, x, y, *channels, *axes, table))
