"""Go along a path of mixes: compile and measure some, to find how far a bound lets them go."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lowbitc.compiler.diagnostics import CompileError, Diagnostic, error
from lowbitc.mixing import Goal, Mix
from lowbitc.options import NEAREST

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from lowbitc.passes.measure_sensitivity import Part
    from lowbitc.paths import Path as MixPath
    from lowbitc.trials import Trial, Trials

_MOST_TRIALS = 6
"""Compilations with the whole recipe along the path; each takes as long as a compilation does."""
_MOST_DETOURS = 4
"""Further ones past the step that was too much."""
_HALVED = 3
"""Every so many trials the interval is halved, whatever the estimate says."""
_FINEST = 40
"""The search ends within a path's length over this."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a mix must keep: a drop of the metric, bytes, joules a frame, NPs. None is no bound."""

    max_drop: float | None = None
    max_size: int | None = None
    max_energy: float | None = None
    max_nps: int | None = None

    @property
    def goal(self) -> Goal:
        """What to save most of."""
        if self.max_energy is not None and self.max_size is None and self.max_nps is None:
            return Goal.ENERGY
        return Goal.BOTH if self.max_size is None and self.max_nps is None else Goal.SIZE

    def over_budget(self, trial: Trial) -> Iterator[str]:
        """Yield each budget that a program does not keep."""
        for name, value, most in (
            ("size", trial.size_bytes, self.max_size),
            ("energy", trial.energy_j, self.max_energy),
            ("NPs", trial.processors, self.max_nps),
        ):
            if most is not None and value > most:
                yield f"{name} {value:.6g}, more than {most:.6g}"


@dataclass(frozen=True, slots=True)
class Tried:
    """A mix of the path, and its program."""

    mix: Mix
    trial: Trial


class Walk:
    """The mixes that were tried; ``all`` holds them by their widths."""

    def __init__(self, trials: Trials, path: MixPath, bounds: Bounds) -> None:
        """Begin with the network at 8 bits."""
        self.trials = trials
        self.path = path
        self.bounds = bounds
        self.all = {_key(Mix()): Tried(Mix(), path.full)}

    def tried(self, mix: Mix) -> Tried:
        """Compile a mix with the whole recipe and measure it, once."""
        key = _key(mix)
        if key not in self.all:
            self.all[key] = Tried(mix, self.trials.run(self.path.bits(mix)))
        return self.all[key]

    def first_within_budget(self) -> int:
        """Return the first mix that keeps every budget; how weights are rounded matters little.

        Raises CompileError LB451 where none does.
        """
        if not any(self.bounds.over_budget(self.path.full)):
            return 0
        low, high = 0, len(self.path.mixes) - 1
        over = self._over(high)
        if over:
            raise CompileError([_over_budget(over)])
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self._over(middle) else (low, middle)
        return high

    def _over(self, index: int) -> list[str]:
        mix = self.path.mixes[index]
        trial = self.trials.run(self.path.bits(mix), NEAREST, measured=False)
        return list(self.bounds.over_budget(trial))

    def farthest(self, first: int) -> Tried:
        """Return the farthest mix from ``first`` on that keeps the drop, near enough.

        Where one step of the path was too much, those behind it are tried without its choice.
        Raises CompileError LB452 where the first mix does not keep the drop.
        """
        mixes = self.path.mixes
        low, high = self._walk(mixes, first - 1, _MOST_TRIALS)
        if low < first:
            start = self.tried(mixes[first]).trial
            if not self._keeps(start):
                raise CompileError([_over_drop(start, self.bounds.max_drop or 0.0)])
            low = first
        if high - low == 1 and high < len(mixes):
            mixes = tuple(_past(mixes[low:]))
            low, _ = self._walk(mixes, 0, _MOST_DETOURS)
        return self.tried(mixes[low])

    def _keeps(self, trial: Trial) -> bool:
        return _likely(trial) <= (self.bounds.max_drop or 0.0)

    def _walk(self, mixes: Sequence[Mix], low: int, trials: int) -> tuple[int, int]:
        """Return the last mix known to keep the drop, and the first beyond it known not to.

        The sum of what widths cost alone, scaled by what the last trial really lost, says where to
        look; where it is no guide, the interval is halved.
        """
        most = self.bounds.max_drop or 0.0
        high = len(mixes)
        scale = 1.0
        if low < 0 and self._keeps(self.path.full):
            low = 0
        for count in range(trials):
            if high - low <= max(1, len(mixes) // _FINEST):
                break
            inside = range(low + 1, high)
            within = [i for i in inside if mixes[i].drop * scale <= most]
            index: int = max(within, default=inside[0])
            if count % _HALVED == _HALVED - 1:
                index = inside[len(inside) // 2]
            found = self.tried(mixes[index])
            if self._keeps(found.trial):
                low = index
            else:
                high = index
            scale = max(_likely(found.trial), most / 4) / max(found.mix.drop, 1e-9)
        return low, high


def _past(mixes: Sequence[Mix]) -> Iterator[Mix]:
    """Yield the first mix, and those behind the second without the choice that it changed."""
    yield mixes[0]
    widths: Mapping[tuple[str, Part], int] = mixes[0].widths
    skipped = _changed(mixes[0], mixes[1])
    divergence, drop = mixes[0].divergence, mixes[0].drop
    for before, after in itertools.pairwise(mixes[1:]):
        choice = _changed(before, after)
        if choice == skipped:
            continue
        widths = {**widths, choice: after.widths[choice]}
        divergence += after.divergence - before.divergence
        drop += after.drop - before.drop
        yield Mix(widths, divergence, drop)


def _changed(before: Mix, after: Mix) -> tuple[str, Part]:
    return next(key for key, width in after.widths.items() if before.widths.get(key) != width)


def _key(mix: Mix) -> frozenset[tuple[tuple[str, Part], int]]:
    return frozenset(mix.widths.items())


def _over_budget(over: list[str]) -> Diagnostic:
    return error(
        "LB451",
        "no mix of bits keeps the budget",
        found=f"{', '.join(over)} with as few bits as the search takes",
        hint="give a larger budget, or a smaller network",
    )


def _likely(trial: Trial) -> float:
    """Return a drop with its standard error: on other samples it may be as large."""
    return trial.drop + trial.margin


def _over_drop(trial: Trial, most: float) -> Diagnostic:
    margin = f" ± {trial.margin:.4f}" if trial.margin else ""
    return error(
        "LB452",
        "no mix of bits that was tried keeps the drop",
        found=f"a drop of {trial.drop:.4f}{margin} with as many bits as the budgets leave",
        allowed=f"{most:.4f}",
        hint="allow a larger drop or budget, give more calibration samples, or train the "
        "network for few bits",
    )
