"""Fit the levels of one layer so that its outputs come near those of the float network.

The layer reads x, what earlier quantized layers really put out; the float network has y in the
place of its output. With both centred, the best float weights for x, held near the trained W by a
ridge λ, are W* = W + (y - W x) xᵀ (x xᵀ + λI)⁻¹ (the mismatch target of GPTAQ and Qronos), and
the error of any other weights is (W - W*) (x xᵀ + λI) (W - W*)ᵀ more: the problem that
``round_levels`` solves. The bias makes the means agree.

Where an activation clips the float output, an output beyond the clip is as good: such targets
move to the layer's own output, and the fit is repeated.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from lowbitc.compiler.statistics.choose_ridge import choose_ridge
from lowbitc.compiler.statistics.couple_rows import (
    polish_coupled,
    round_coupled,
    uncouple_empty,
)
from lowbitc.compiler.statistics.level_sums import (
    cross_sums,
    level_sums,
    outputs,
    second_moments,
)
from lowbitc.compiler.statistics.linear_systems import (
    factor_upper,
    multiply,
    solve_right,
    with_ridge,
)
from lowbitc.compiler.statistics.round_levels import Effort, polish, round_levels

if TYPE_CHECKING:
    from lowbitc.compiler.elements import Array, Float32, Float64, Int8, LevelType


@dataclass(frozen=True, slots=True, eq=False)
class LayerRows:
    """Calibration rows of a layer of G groups.

    ``x`` [M, G, K] are integer levels, ``y`` [M, G, O] the float network's sums. Below ``low`` or
    above ``high`` (that broadcast against y) the output is clipped.
    """

    x: Array
    y: Float32
    low: Float32
    high: Float32

    @property
    def clipped(self) -> bool:
        """Whether there are any bounds."""
        return bool(np.isfinite(self.low).any() or np.isfinite(self.high).any())


@dataclass(frozen=True, slots=True)
class FitOptions:
    """What a fit tries, the same for every layer and network.

    ``clip_rounds`` repeats the target with clipped outputs set free, before rounding, and
    ``polish_rounds`` after it. ``weigh_ridge`` asks rows that are left out how large λ should be;
    with ``free_rounding`` that holds for the target alone.
    """

    effort: Effort = field(default_factory=Effort)
    mismatch: bool = True
    clip_rounds: int = 2
    polish_rounds: int = 0
    weigh_ridge: bool = True
    free_rounding: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class FittedLayer:
    """Levels [G, O, K], the value of one level per unit of x [G, O], and biases [G, O].

    ``error`` is the mean squared distance to the targets over their variance.
    """

    levels_type: LevelType
    levels: Int8
    scales: Float64
    bias: Float64
    error: float


def fit_layer(
    rows: LayerRows,
    weights: Float64,
    bias: Float64,
    allowed: tuple[LevelType, ...],
    options: FitOptions,
    coupling: Float64 | None = None,
) -> FittedLayer:
    """Fit weights [G, O, K], given per unit of x, in whichever alphabet has the smaller error.

    ``coupling`` [O, O], for a layer of one group, is how errors of outputs add up in the network's
    (see ``couple_rows``); without it they count alike, and alone.
    """
    if coupling is not None:
        coupling = uncouple_empty(coupling, weights[0])
    problem = _Problem(rows, weights, bias, options)
    best_weights = problem.solve(rows.y) if options.mismatch else weights
    target = rows.y
    if options.mismatch and rows.clipped:
        for _ in range(options.clip_rounds):
            target = problem.freed(best_weights)
            best_weights = problem.solve(target)
    sorted_weights = problem.in_order(best_weights)
    system, effort = (problem.second, problem.factor), options.effort
    if coupling is None:
        best = round_levels(sorted_weights, *system, allowed, effort)
    else:
        best = round_coupled(sorted_weights, *system, allowed, effort, coupling)
    if options.mismatch and rows.clipped:
        for _ in range(options.polish_rounds):
            target = problem.freed(problem.as_given(best.levels * best.scales[:, :, np.newaxis]))
            sorted_weights = problem.in_order(problem.solve(target))
            if coupling is None:
                best = polish(sorted_weights, best, problem.second, effort)
            else:
                best = polish_coupled(sorted_weights, best, problem.second, effort, coupling)
    levels = problem.as_given(best.levels)
    fitted = levels * best.scales[:, :, np.newaxis]
    variance = float(target.var(axis=0, dtype=np.float64).sum())
    shift = _means(target) - _at_mean(fitted, problem.mean)
    return FittedLayer(
        best.levels_type,
        levels.astype(np.int8),
        best.scales,
        shift,
        float(best.errors.sum()) / variance if variance else 0.0,
    )


def float_error(rows: LayerRows, weights: Float64) -> float:
    """Return the relative error of the best float weights for x: what levels of x can tell."""
    problem = _Problem(rows, weights, np.zeros(rows.y.shape[1:]), FitOptions(weigh_ridge=False))
    best = problem.solve(rows.y)
    variance = float(rows.y.var(axis=0, dtype=np.float64).sum())
    explained = (
        2 * (best * problem.centred_cross(rows.y)).sum()
        - (multiply(best, problem.centred) * best).sum()
    )
    return 1.0 - float(explained) / variance if variance else 0.0


class _Problem:
    """The system of a layer, its factor, and targets for it.

    How far weights may follow the rows, and what errors of rounded weights cost, are two questions:
    a ridge that was found for the one (``choose_ridge``) would hide from the other how errors of
    inputs cancel. So the target may have a system of its own.

    The system has the inputs in falling order of their second moments: those rounded first pass
    their errors on, those rounded last keep them, so the heavy ones come first (as in OBQ).
    """

    def __init__(
        self, rows: LayerRows, weights: Float64, bias: Float64, options: FitOptions
    ) -> None:
        self.rows = rows
        self.weights = weights
        self.bias = bias
        self.count = rows.x.shape[0]
        self.mean = level_sums(rows.x) / self.count
        raw = second_moments(rows.x) / self.count
        centred = raw - self.mean[:, :, np.newaxis] * self.mean[:, np.newaxis, :]
        power = np.diagonal(raw, axis1=1, axis2=2).mean(axis=1)
        ridge = choose_ridge(rows.x, rows.y, weights) if options.weigh_ridge else 1.0
        second = with_ridge(centred, self.count, power, ridge)
        self.centred = centred
        self.ridge = np.diagonal(second - centred, axis1=1, axis2=2)[:, np.newaxis]
        self.order = np.argsort(-np.diagonal(second, axis1=1, axis2=2), axis=1, kind="stable")
        self.second, self.factor = self.factored(second)
        self.solving = self.factor
        if options.free_rounding and ridge != 1.0:
            self.second, self.factor = self.factored(with_ridge(centred, self.count, power))

    def factored(self, second: Float64) -> tuple[Float64, Float64]:
        """Return a system in order, and its factor."""
        rows_first = np.take_along_axis(second, self.order[:, :, np.newaxis], axis=1)
        found = self.in_order(rows_first)
        return found, factor_upper(found)

    def solve(self, target: Float32) -> Float64:
        """Return the float weights that come nearest to a target."""
        products = self.centred_cross(target) + self.weights * self.ridge
        return self.as_given(solve_right(self.in_order(products), self.solving))

    def in_order(self, columns: Float64) -> Float64:
        """Sort the last dimension of [G, O, K] as the system has it."""
        return np.take_along_axis(columns, self.order[:, np.newaxis, :], axis=2)

    def as_given(self, columns: Float64) -> Float64:
        """Undo ``in_order``."""
        found = np.empty_like(columns)
        np.put_along_axis(found, self.order[:, np.newaxis, :], columns, axis=2)
        return found

    def centred_cross(self, target: Float32) -> Float64:
        """Return the mean of (y - E y)(x - E x)ᵀ; exactly 0 where x is constant."""
        products, sums = cross_sums(target, self.rows.x)
        shared = sums[:, :, np.newaxis] * self.mean[:, np.newaxis, :]
        return np.asarray((products - shared) / self.count)

    def freed(self, weights: Float64) -> Float32:
        """Return the target in which outputs beyond the clip are the layer's own."""
        rows = self.rows
        shift = _means(rows.y) - _at_mean(weights, self.mean)
        own = outputs(rows.x, weights, shift)
        free = np.where(rows.y <= rows.low, np.minimum(own, rows.low), rows.y)
        return np.where(rows.y >= rows.high, np.maximum(own, rows.high), free).astype(np.float32)


def _at_mean(weights: Float64, mean: Float64) -> Float64:
    return np.asarray((weights * mean[:, np.newaxis]).sum(axis=2))


def _means(y: Float32) -> Float64:
    return np.asarray(y.mean(axis=0, dtype=np.float64))
