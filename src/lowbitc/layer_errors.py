"""What one layer of a program loses: by itself, in the network, and against what its bits allow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lowbitc.clip_meter import ClipCosts, GainedClip, histogram_costs
from lowbitc.compiler.elements import ACCUMULATOR_BITS, F32, LevelType, signed
from lowbitc.compiler.execute_fractions import run_between_levels, to_fractions
from lowbitc.compiler.export.levels import float_constants
from lowbitc.compiler.ir import quantized as q
from lowbitc.compiler.ir.groups import WEIGHTED
from lowbitc.compiler.ir.types import TensorType
from lowbitc.compiler.statistics.clips import clip_mse
from lowbitc.compiler.statistics.error_sums import ErrorFigures, ErrorSums, decibels
from lowbitc.compiler.statistics.histogram import HistogramAccumulator
from lowbitc.compiler.statistics.weight_scales import fit_weights
from lowbitc.level_shapes import (
    count_levels,
    shape_of_counts,
    shape_of_histogram,
    shape_of_weights,
)
from lowbitc.passes.bin_weights import channel_rows
from lowbitc.passes.quantize import level_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lowbitc.compiler.elements import Array, Bools, Float32, Float64, Int64
    from lowbitc.compiler.execute import FloatSession
    from lowbitc.compiler.ir.node import Node
    from lowbitc.compiler.statistics.histogram import Histogram
    from lowbitc.level_shapes import LevelShape
    from lowbitc.matching import Layer, Match
    from lowbitc.targets.engines.tracing import TracedLaunch

_FULL = 8
_FEW_CUT = 30


@dataclass(frozen=True, slots=True)
class Part:
    """One way in which a layer can lose more than it must.

    ``excess_db`` is the power of its error over what the same number of bits would give, in
    decibels; ``what`` says in words what is off.
    """

    name: str
    excess_db: float
    what: str


@dataclass(frozen=True, slots=True)
class ClipUse:
    """How the levels of a layer's output are used.

    ``clip`` is the largest value that they hold, ``best`` the clip of least squared error for the
    float values; ``clipped_share`` the share of these beyond the clip. ``dead_channels`` are
    channels that are 0 throughout although the float ones are not.
    """

    element: str
    scale: float
    clip: float
    best: float
    clipped_share: float
    used_levels: int
    levels: int
    dead_channels: int
    channels: int


@dataclass(frozen=True, slots=True)
class LayerErrors:
    """All that was measured of a layer, but for what leaving it out changes.

    ``parts`` are the clip of its output, where it has one, and the layer as a whole;
    ``expected_db`` is what the local ratio of signal to error could be. ``outputs`` and
    ``weights`` are histograms.
    """

    local: ErrorFigures
    accumulated: ErrorFigures
    expected_db: float
    parts: tuple[Part, ...]
    use: ClipUse | None
    outputs: LevelShape | None
    weights: LevelShape | None


class LayerMeter:
    """Adds up what a layer does to the float network's values, and what it does in the program."""

    def __init__(self, match: Match, layer: Layer, histogram: HistogramAccumulator) -> None:
        """Prepare the layer's float nodes with weights rounded as their width allows."""
        self.match = match
        self.layer = layer
        self.histogram = histogram
        self.middle = HistogramAccumulator() if _has_table(layer) else None
        self.local, self.seen, self.attainable = ErrorSums(), ErrorSums(), ErrorSums()
        self.counts: Int64 = np.zeros(1, np.int64)
        self.alive: Bools | None = None
        self.wanted: Bools | None = None
        graph = match.program.launches[layer.launch].graph
        self.held = graph.tensor(layer.value)
        element = self.held.levels
        sums = element is None or element.bits == ACCUMULATOR_BITS
        self.element = None if sums else element
        border = isinstance(layer.node, q.Quantize)
        self._tensors = {v if border else level_name(v): v for v in layer.inputs}
        gains = match.program.gains.get(layer.tensor)
        self._gained: GainedClip | None = None
        if gains is not None and self.element is not None:
            self._gained = GainedClip(self.held.scale[0], self.element, gains)
        self._nearest = self._with_nearest() if _weights(layer) else None

    def fetches(self) -> tuple[str, ...]:
        """Values of the float network that the meter looks at."""
        chain = self.layer.chain
        inner = (chain.compute.outputs[0],) if chain is not None and self.middle else ()
        return (*self.layer.inputs, self.layer.tensor, *inner)

    def add(self, floats: Mapping[str, Array], launch: TracedLaunch, samples: int) -> None:
        """Look at a batch: the float network's values with gains, and the launch's."""
        layer, match = self.layer, self.match
        wanted = floats[layer.tensor]
        if self.element is not None:
            self.histogram.add(wanted)
        levels = launch.values[layer.value]
        if self._gained is not None:
            self._gained.add(wanted, samples)
        self._compare(self.seen, wanted, match.dequantized(layer, levels), samples)
        self._compare(self.local, wanted, self._by_itself(floats, launch), samples)
        self._use(levels, wanted)
        self._attain(floats, samples)
        if self.middle is not None and layer.chain is not None:
            self.middle.add(floats[layer.chain.compute.outputs[0]])

    def _compare(self, sums: ErrorSums, wanted: Array, found: Array, samples: int) -> None:
        """Add errors as they are to the user's tensor."""
        one, other = (
            self.match.scaled(self.layer.tensor, values, back=True) for values in (wanted, found)
        )
        sums.add(one, other, samples)

    def _by_itself(self, floats: Mapping[str, Array], launch: TracedLaunch) -> Float32:
        """Return what the layer makes of the float network's values, neither rounded nor cut."""
        graph = launch.graph
        values: dict[str, Array] = {}
        for node in self.layer.nodes:
            for value in node.inputs:
                tensor = self._tensors.get(value)
                if tensor is not None and value not in values:
                    exact = np.asarray(floats[tensor], np.float32)
                    border = isinstance(node, q.Quantize)
                    scale = 1.0 if border else graph.tensor(value).scale[0]
                    values[value] = exact if border else to_fractions(exact, scale)
            values.update(run_between_levels(launch.session, node, values))
        return self.match.dequantized(self.layer, values[self.layer.value])

    def _use(self, levels: Array, wanted: Array) -> None:
        if self.element is None:
            return
        self.counts = self.counts + count_levels(levels, self.element)
        axis = levels.ndim - 1 if isinstance(self.layer.node, q.QDense) else 1
        if levels.ndim > 1:
            others = tuple(i for i in range(levels.ndim) if i != axis)
            alive, real = np.any(levels != 0, axis=others), np.any(wanted != 0, axis=others)
            self.alive = alive if self.alive is None else self.alive | alive
            self.wanted = real if self.wanted is None else self.wanted | real

    # --- weights ---------------------------------------------------------------------------------

    def _with_nearest(self) -> FloatSession:
        """Load the float layer with its weights rounded to the nearest levels of their width."""
        layer, match = self.layer, self.match
        compute = layer.floats[0]
        held = match.program.launches[layer.launch].graph.tensor(layer.node.inputs[1])
        element = held.levels or signed(_FULL)
        floats = np.asarray(match.graph.constants[compute.inputs[1]], np.float32)
        flat, restore = channel_rows(compute, self._scaled(compute, floats))
        fit = fit_weights(flat, element)
        nearest = TensorType(floats.shape, element, tuple(fit.scales.tolist()))
        return self._load(compute, restore(fit.levels), nearest)

    def _load(self, compute: Node, levels: Array, held: TensorType) -> FloatSession:
        graph, name = self.match.graph, compute.inputs[1]
        whole = graph.replace(
            constants={**graph.constants, name: levels}, types={**graph.types, name: held}
        )
        values = self._scaled(compute, float_constants(whole, (name,))[name], back=True)
        whole = whole.replace(
            constants={**graph.constants, name: values},
            types={**graph.types, name: TensorType(values.shape, F32)},
        )
        return self.match.session(self.layer, whole)

    def _scaled(self, compute: Node, weights: Array, *, back: bool = False) -> Float32:
        """Return weights as they are with the program's gains, or without."""
        gains = self.match.program.gains
        before, after = gains.get(compute.inputs[0]), gains.get(self.layer.tensor)
        flat, restore = channel_rows(compute, weights)
        factors = np.ones(flat.shape)
        if after is not None:
            factors *= np.asarray(after, np.float64)[:, np.newaxis]
        if before is not None:
            factors /= _by_weight(compute, np.asarray(before, np.float64), flat)
        scaled = flat / factors if back else flat * factors
        return np.asarray(restore(scaled), np.float32)

    def _attain(self, floats: Mapping[str, Array], samples: int) -> None:
        """Run the layer with the nearest weights on the float network's values."""
        layer, match = self.layer, self.match
        if self._nearest is None:
            return
        feeds = {v: match.scaled(v, floats[v], back=True) for v in layer.inputs}
        made = self._nearest.arrays(feeds)[layer.tensor]
        wanted = match.scaled(layer.tensor, floats[layer.tensor], back=True)
        self.attainable.add(wanted, made, samples)

    # --- results ---------------------------------------------------------------------------------

    def result(self, histogram: Histogram) -> LayerErrors:
        """Return what was measured; ``histogram`` is that of all values that share the scale."""
        power = self.local.wanted.value / max(self.local.count, 1)
        # What its clip alone costs is the clip's part; the rest is the layer's.
        least = given = self.attainable.mean_error
        parts: list[Part] = []
        use = None
        if self.element is not None:
            scale = self.held.scale[0]
            gained = self._gained
            costs = gained.costs() if gained else histogram_costs(histogram, scale, self.element)
            use = self._clip_use(self.element, costs)
            parts.append(_clip_part(scale, costs))
            least, given = least + costs.best_error, given + costs.error
        if self.middle is not None:
            middle = self.middle.result()
            table = clip_mse(middle, signed(_FULL)).relative_error * middle.mean_square()
            least, given = least + table, given + table
        if given > 0:
            over = decibels(self.local.mean_error, given)
            parts.append(
                Part(
                    "layer", over, "its weights, bias or stage are off: it computes something else"
                )
            )
        shape = None
        if self.element is not None:
            floats = shape_of_histogram(histogram)
            shape = shape_of_counts(self.counts, self.element, self.held.scale[0], floats)
        return LayerErrors(
            local=self.local.figures(),
            accumulated=self.seen.figures(),
            expected_db=decibels(power, least),
            parts=tuple(parts),
            use=use,
            outputs=shape,
            weights=self._weight_shape(),
        )

    def _weight_shape(self) -> LevelShape | None:
        layer, graph = self.layer, self.match.program.launches[self.layer.launch].graph
        held = graph.tensor(layer.node.inputs[1]) if self._nearest is not None else self.held
        if self._nearest is None or held.levels is None:
            return None
        compute = layer.floats[0]
        floats = np.asarray(self.match.graph.constants[compute.inputs[1]], np.float32)
        rows, _ = channel_rows(compute, self._scaled(compute, floats))
        levels = graph.constants[layer.node.inputs[1]]
        return shape_of_weights(levels, held.levels, np.asarray(held.scale, np.float64), rows)

    def _clip_use(self, element: LevelType, costs: ClipCosts) -> ClipUse:
        dead = 0
        if self.alive is not None and self.wanted is not None:
            dead = int(np.count_nonzero(self.wanted & ~self.alive))
        return ClipUse(
            element=element.name,
            scale=self.held.scale[0],
            clip=self.held.scale[0] * element.maximum,
            best=costs.best_scale * element.maximum,
            clipped_share=costs.cut_share,
            used_levels=int(np.count_nonzero(self.counts)),
            levels=len(element.levels()),
            dead_channels=dead,
            channels=0 if self.alive is None else self.alive.size,
        )


def _has_table(layer: Layer) -> bool:
    return layer.chain is not None and layer.chain.table is not None


def _weights(layer: Layer) -> bool:
    return layer.chain is not None and isinstance(layer.chain.compute, WEIGHTED)


def _by_weight(compute: Node, gains: Float64, flat: Float64) -> Float64:
    """Return the gain of the channel that each weight of the rows [O, K] reads."""
    groups = int(getattr(compute, "groups", 1))
    channels = gains.size // groups
    by_group = np.repeat(gains.reshape(groups, channels), flat.shape[1] // channels, axis=1)
    return np.repeat(by_group, flat.shape[0] // groups, axis=0)


def _clip_part(scale: float, costs: ClipCosts) -> Part:
    """Compare a clip with the best one; a few values beyond it, which may be chance, do not count.

    Levels that share a scale with others are judged by all values of that scale.
    """
    ratio = scale / costs.best_scale
    error = costs.error if costs.cut >= _FEW_CUT else costs.error_within
    if ratio >= 1:
        what = f"its clip is {ratio:.1f} times as large as it should be"
    else:
        what = f"its clip is {1 / ratio:.1f} times too small: {costs.cut_share:.1%} are cut"
    return Part("clip", decibels(error, costs.best_error), what)
