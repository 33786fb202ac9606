"""What one layer of a program loses: by itself, in the network, and against what its bits allow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lowbitc.compiler.elements import ACCUMULATOR_BITS, F32, LevelType, signed
from lowbitc.compiler.execute_fractions import run_between_levels, to_fractions
from lowbitc.compiler.export.levels import float_constants
from lowbitc.compiler.ir import quantized as q
from lowbitc.compiler.ir.types import TensorType
from lowbitc.compiler.statistics.clips import Clip, clip_at, clip_mse
from lowbitc.compiler.statistics.error_sums import ErrorFigures, ErrorSums, decibels
from lowbitc.compiler.statistics.histogram import HistogramAccumulator
from lowbitc.compiler.statistics.weight_scales import fit_weights, fit_with_scales
from lowbitc.passes.bin_weights import channel_rows
from lowbitc.passes.chains import WEIGHTED
from lowbitc.passes.quantize import level_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lowbitc.compiler.elements import Array, Bools, Float32, Float64, Int64
    from lowbitc.compiler.execute import FloatSession
    from lowbitc.compiler.ir.node import Node
    from lowbitc.compiler.statistics.histogram import Histogram
    from lowbitc.matching import Layer, Match
    from lowbitc.targets.engines.tracing import TracedLaunch

_FULL = 8
_LEVELS = 256


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

    ``parts`` are the clip of its output, its weights and the layer as a whole, as far as it has
    them; ``expected_db`` is what the local ratio of signal to error could be.
    """

    local: ErrorFigures
    accumulated: ErrorFigures
    expected_db: float
    parts: tuple[Part, ...]
    use: ClipUse | None


class LayerMeter:
    """Adds up what a layer does to the float network's values, and what it does in the program."""

    def __init__(self, match: Match, layer: Layer, histogram: HistogramAccumulator) -> None:
        """Prepare the layer's float nodes with the program's weights, and with fitted ones."""
        self.match = match
        self.layer = layer
        self.histogram = histogram
        self.middle = HistogramAccumulator() if _has_table(layer) else None
        self.local, self.seen, self.attainable = ErrorSums(), ErrorSums(), ErrorSums()
        self.rounded, self.fitted = ErrorSums(), ErrorSums()
        self.counts: Int64 = np.zeros(_LEVELS, np.int64)
        self.alive: Bools | None = None
        self.wanted: Bools | None = None
        graph = match.program.launches[layer.launch].graph
        self.held = graph.tensor(layer.value)
        element = self.held.levels
        sums = element is None or element.bits == ACCUMULATOR_BITS
        self.element = None if sums else element
        border = isinstance(layer.node, q.Quantize)
        self._tensors = {v if border else level_name(v): v for v in layer.inputs}
        self._sessions = self._with_weights() if _weights(layer) else None

    def fetches(self) -> tuple[str, ...]:
        """Values of the float network that the meter looks at."""
        chain = self.layer.chain
        inner = (chain.compute.outputs[0],) if chain is not None else ()
        return (*self.layer.inputs, self.layer.tensor, *inner)

    def add(self, floats: Mapping[str, Array], launch: TracedLaunch, samples: int) -> None:
        """Look at a batch: the float network's values with gains, and the launch's."""
        layer, match = self.layer, self.match
        wanted = floats[layer.tensor]
        if self.element is not None:
            self.histogram.add(wanted)
        levels = launch.values[layer.value]
        self.seen.add(wanted, match.dequantized(layer, levels), samples)
        self.local.add(wanted, self._by_itself(floats, launch), samples)
        self._use(levels, wanted)
        if self._sessions is not None:
            self._weigh(floats, samples)
        elif self.middle is not None and layer.chain is not None:
            self.middle.add(floats[layer.chain.compute.outputs[0]])

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
        offset = levels.astype(np.int16).reshape(-1) - self.element.minimum
        self.counts += np.bincount(offset, minlength=_LEVELS)
        axis = levels.ndim - 1 if isinstance(self.layer.node, q.QDense) else 1
        if levels.ndim > 1:
            others = tuple(i for i in range(levels.ndim) if i != axis)
            alive, real = np.any(levels != 0, axis=others), np.any(wanted != 0, axis=others)
            self.alive = alive if self.alive is None else self.alive | alive
            self.wanted = real if self.wanted is None else self.wanted | real

    # --- weights ---------------------------------------------------------------------------------

    def _with_weights(self) -> tuple[FloatSession, FloatSession]:
        """Load the float layer with the program's weights, and with the nearest levels."""
        layer, match = self.layer, self.match
        compute = layer.floats[0]
        launch = match.program.launches[layer.launch].graph
        stored = layer.node.inputs[1]
        held = launch.tensor(stored)
        element = held.levels or signed(_FULL)
        name = compute.inputs[1]
        floats = np.asarray(match.graph.constants[name], np.float32)
        floats = self._scaled(compute, floats)
        flat, restore = channel_rows(compute, floats)
        scales = _nearest_scales(flat, element)
        fit = (
            fit_with_scales(flat, scales, element)
            if scales is not None
            else fit_weights(flat, element)
        )
        nearest = TensorType(floats.shape, element, tuple(fit.scales.tolist()))
        levels = launch.constants[stored]
        rows, _ = channel_rows(compute, levels)
        kept = TensorType(floats.shape, element, tuple(_refitted(flat, rows).tolist()))
        pairs = ((levels, kept), (restore(fit.levels), nearest))
        return tuple(self._load(compute, levels, kept) for levels, kept in pairs)  # type: ignore[return-value]

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
        return self.match.session(self.layer, whole, compute.outputs[0])

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

    def _weigh(self, floats: Mapping[str, Array], samples: int) -> None:
        """Run the layer with both kinds of rounded weights on the float network's values."""
        layer, match = self.layer, self.match
        chain = layer.chain
        if self._sessions is None or chain is None:
            return
        inner = chain.compute.outputs[0]
        feeds = {v: match.scaled(v, floats[v], back=True) for v in layer.inputs}
        exact = floats[inner]
        if self.middle is not None:
            self.middle.add(exact)
        for session, sums in zip(self._sessions, (self.rounded, self.fitted), strict=True):
            made = session.arrays(feeds)
            found = _without_means(np.asarray(made[inner], np.float32), exact)
            sums.add(exact, found, samples)
            if sums is self.fitted:
                self.attainable.add(
                    floats[layer.tensor], match.scaled(layer.tensor, made[layer.tensor]), samples
                )

    # --- results ---------------------------------------------------------------------------------

    def result(self, histogram: Histogram) -> LayerErrors:
        """Return what was measured; ``histogram`` is that of all values that share the scale."""
        power = self.local.wanted.value / max(self.local.count, 1)
        least = self.attainable.mean_error
        parts: list[Part] = []
        use = None
        if self.element is not None:
            now = clip_at(histogram, self.element, self.held.scale[0])
            best = clip_mse(histogram, self.element)
            use = self._clip_use(now, best)
            parts.append(_clip_part(now, best))
            least += best.relative_error * histogram.mean_square()
        if self.middle is not None:
            middle = self.middle.result()
            least += clip_mse(middle, signed(_FULL)).relative_error * middle.mean_square()
        if self._sessions is not None:
            parts.append(
                Part(
                    "weights",
                    decibels(self.rounded.error.value, self.fitted.error.value),
                    "its weights are further from the float ones than rounding needs",
                )
            )
        if least > 0:
            over = decibels(self.local.mean_error, least)
            parts.append(Part("layer", over, "it computes something else than the float layer"))
        return LayerErrors(
            local=self.local.figures(),
            accumulated=self.seen.figures(),
            expected_db=decibels(power, least),
            parts=tuple(parts),
            use=use,
        )

    def _clip_use(self, now: Clip, best: Clip) -> ClipUse:
        element = now.levels
        dead = 0
        if self.alive is not None and self.wanted is not None:
            dead = int(np.count_nonzero(self.wanted & ~self.alive))
        return ClipUse(
            element=element.name,
            scale=now.scale,
            clip=now.scale * element.maximum,
            best=best.scale * element.maximum,
            clipped_share=now.clipped_share,
            used_levels=int(np.count_nonzero(self.counts)),
            levels=len(element.levels()),
            dead_channels=dead,
            channels=0 if self.alive is None else self.alive.size,
        )


def _has_table(layer: Layer) -> bool:
    return layer.chain is not None and layer.chain.table is not None


def _weights(layer: Layer) -> bool:
    return layer.chain is not None and isinstance(layer.chain.compute, WEIGHTED)


def _nearest_scales(rows: Float64, element: LevelType) -> Float64 | None:
    """Return the scales that reach the largest weights: at 8 bits, near enough to the best."""
    if element.bits < _FULL:
        return None
    largest = np.abs(rows).max(axis=1, initial=0.0)
    return np.where(largest > 0, largest / element.maximum, 1.0)


def _refitted(rows: Float64, levels: Float64) -> Float64:
    """Return the scales that suit levels best; a stage may hold a gain beside them."""
    squares = np.square(levels).sum(axis=1)
    found = np.divide(
        (rows * levels).sum(axis=1), squares, out=np.ones(len(rows)), where=squares > 0
    )
    return np.where(found > 0, found, 1.0)


def _by_weight(compute: Node, gains: Float64, flat: Float64) -> Float64:
    """Return the gain of the channel that each weight of the rows [O, K] reads."""
    groups = int(getattr(compute, "groups", 1))
    channels = gains.size // groups
    by_group = np.repeat(gains.reshape(groups, channels), flat.shape[1] // channels, axis=1)
    return np.repeat(by_group, flat.shape[0] // groups, axis=0)


def _without_means(found: Float32, exact: Array) -> Float32:
    """Take each channel's mean error out of a map: it belongs to the bias, which is refitted."""
    if found.ndim <= 2:  # noqa: PLR2004 - frames and channels alone
        return found
    places = tuple(range(2, found.ndim))
    gap = (found - np.asarray(exact, np.float32)).mean(axis=places, keepdims=True, dtype=np.float64)
    return np.asarray(found - gap, np.float32)


def _clip_part(now: Clip, best: Clip) -> Part:
    ratio = now.scale / best.scale
    if ratio >= 1:
        what = f"its clip is {ratio:.1f} times as large as it should be"
    else:
        what = f"its clip is {1 / ratio:.1f} times too small: {now.clipped_share:.1%} are cut"
    return Part("clip", decibels(now.relative_error, best.relative_error), what)
