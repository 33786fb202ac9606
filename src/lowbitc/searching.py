"""Find bits for each layer: as few as a bound on the loss allows, or as a budget asks for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lowbitc.compilation import silent
from lowbitc.compiler.diagnostics import CompileError, Diagnostic, error, raise_errors, warning
from lowbitc.mixing import Goal, Mix
from lowbitc.options import settle
from lowbitc.paths import Path as MixPath
from lowbitc.paths import lay_path
from lowbitc.trials import Trial, Trials

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import onnx

    from lowbitc.compilation import Report
    from lowbitc.compiler.datasets.opening import DataSource
    from lowbitc.options import Options
    from lowbitc.targets.container import Json

_MOST_TRIALS = 6
"""Compilations with the whole recipe; each takes as long as a compilation does."""
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


@dataclass(frozen=True, slots=True)
class Found:
    """The chosen mix, the path that it is on, and all mixes that were tried whole.

    ``limit`` is the number of samples that calibrated; ``labelled`` says whether losses are those
    of ``metric``.
    """

    chosen: Tried
    path: MixPath
    tried: tuple[Tried, ...]
    labelled: bool
    metric: str
    limit: int
    diagnostics: tuple[Diagnostic, ...]

    def as_json(self) -> dict[str, Json]:
        """Return the bits by layer, what was tried, and what 8 bits everywhere would be."""
        held: dict[str, dict[str, Json]] = {}
        for (layer, part), width in self.chosen.mix.widths.items():
            held.setdefault(layer, {})[part.value] = width
        return {
            "layers": [{"name": name, **held[name]} for name in self.path.order if name in held],
            "chosen": self.chosen.trial.as_json(),
            "full": self.path.full.as_json(),
            "tried": [{"narrowed": one.mix.narrowed, **one.trial.as_json()} for one in self.tried],
            "labelled": self.labelled,
            "metric": self.metric if self.labelled else "expected drop",
            "calibrated_on": self.limit,
        }


def search(  # noqa: PLR0913 - one argument a setting
    model: str | Path | onnx.ModelProto,
    *,
    calib: DataSource | None = None,
    data: DataSource | None = None,
    metric: str = "top1",
    max_drop: float | None = None,
    max_size: int | None = None,
    max_energy: float | None = None,
    max_nps: int | None = None,
    target: str | None = None,
    config: str | Path | None = None,
    shapes: Sequence[str] = (),
    limit: int | None = None,
    threads: int = 0,
) -> Found:
    """Find bits for every layer, as ``lowbitc compile --bits auto`` does.

    The program is ``found.chosen.trial.made.program``. Raises CompileError with every reason.
    """
    path = Path(model) if isinstance(model, (str, Path)) else None
    options = settle(
        path,
        calib=calib,
        target=target,
        config=None if config is None else Path(config),
        shapes=shapes,
        limit=limit,
        threads=threads,
        search=True,
    )
    bounds = Bounds(max_drop, max_size, max_energy, max_nps)
    return search_with(path or model, options, bounds, data=data, metric=metric)


def search_with(
    model: str | Path | onnx.ModelProto,
    options: Options,
    bounds: Bounds,
    *,
    data: DataSource | None = None,
    metric: str = "top1",
    report: Report = silent,
) -> Found:
    """Search the bits of every layer, within bounds.

    Losses are measured on ``data``, or else on calibration samples that are kept apart. Raises
    CompileError LB450 without a bound, LB451 where no mix keeps the budgets, LB452 where none
    that does keeps the drop, LB453 for too few samples.
    """
    raise_errors(_wrong_bounds(bounds))
    trials = Trials(model, options, data=data, metric=metric, report=report)
    path = lay_path(trials, bounds.goal)
    walk = _Walk(trials, path, bounds)
    first = walk.first_within_budget()
    chosen = walk.tried(first) if bounds.max_drop is None else walk.farthest(first)
    return Found(
        chosen=chosen,
        path=path,
        tried=tuple(walk.all[index] for index in sorted(walk.all)),
        labelled=trials.labelled,
        metric=trials.metric.name,
        limit=trials.options.limit,
        diagnostics=(*chosen.trial.made.diagnostics, *_doubts(chosen.trial, bounds)),
    )


class _Walk:
    """Goes along a path of mixes, and compiles and measures some."""

    def __init__(self, trials: Trials, path: MixPath, bounds: Bounds) -> None:
        self.trials = trials
        self.path = path
        self.bounds = bounds
        self.all: dict[int, Tried] = {0: Tried(path.mixes[0], path.full)}

    def tried(self, index: int) -> Tried:
        """Compile a mix with the whole recipe and measure it, once."""
        if index not in self.all:
            trial = self.trials.run(self.path.bits(self.path.mixes[index]))
            self.all[index] = Tried(self.path.mixes[index], trial)
        return self.all[index]

    def first_within_budget(self) -> int:
        """Return the first mix that keeps every budget; how weights are rounded matters little."""
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
        trial = self.trials.run(self.path.bits(self.path.mixes[index]), "mse", measured=False)
        return list(self.bounds.over_budget(trial))

    def farthest(self, first: int) -> Tried:
        """Return the farthest mix from ``first`` on that keeps the drop, near enough.

        The sum of what widths cost alone, scaled by what the last trial really lost, says where to
        look; where it is no guide, the interval is halved.
        """
        most = self.bounds.max_drop or 0.0
        low, high, scale = first - 1, len(self.path.mixes), 1.0
        best: Tried | None = None
        if 0 in self.all and first == 0 and self.all[0].trial.drop <= most:
            low, best = 0, self.all[0]
        for count in range(_MOST_TRIALS):
            if high - low <= max(1, len(self.path.mixes) // _FINEST):
                break
            index = self._guess(low, high, most / scale, halve=count % _HALVED == _HALVED - 1)
            found = self.tried(index)
            if found.trial.drop <= most:
                low, best = index, found
            else:
                high = index
            scale = max(found.trial.drop, most / 4) / max(found.mix.drop, 1e-9)
        if best is None:
            best = self.tried(first)
            if best.trial.drop > most:
                raise CompileError([_over_drop(best.trial.drop, most)])
        return best

    def _guess(self, low: int, high: int, allowed: float, *, halve: bool) -> int:
        inside = range(low + 1, high)
        if halve:
            return inside[len(inside) // 2]
        within = [i for i in inside if self.path.mixes[i].drop <= allowed]
        return max(within, default=inside[0])


def _wrong_bounds(bounds: Bounds) -> Iterator[Diagnostic]:
    given = (bounds.max_drop, bounds.max_size, bounds.max_energy, bounds.max_nps)
    if all(bound is None for bound in given):
        yield error(
            "LB450",
            "bits are chosen within a bound",
            found="--bits auto alone",
            allowed="--max-drop, --max-size, --max-energy, --max-nps, or several",
            hint="for example --bits auto --max-drop 0.01",
        )
    for bound in given:
        if bound is not None and not (math.isfinite(bound) and bound >= 0):
            yield error("LB450", "a bound is no amount", found=str(bound), allowed="0 or more")


def _doubts(trial: Trial, bounds: Bounds) -> Iterator[Diagnostic]:
    """Yield a warning where so few samples cannot tell a drop of that size."""
    most = bounds.max_drop
    if most and trial.samples * most < 1:
        yield warning(
            "LB454",
            "the drop was verified on few samples",
            found=f"{trial.samples} samples",
            allowed=f"{math.ceil(1 / most)} or more for a drop of {most:g}",
            hint="give more samples with --calib, of which a quarter is kept apart, or with --data",
        )


def _over_budget(over: list[str]) -> Diagnostic:
    return error(
        "LB451",
        "no mix of bits keeps the budget",
        found=f"{', '.join(over)} with as few bits as the search takes",
        hint="give a larger budget, or a smaller network",
    )


def _over_drop(drop: float, most: float) -> Diagnostic:
    return error(
        "LB452",
        "no mix of bits that was tried keeps the drop",
        found=f"a drop of {drop:.4f} with as many bits as the budgets leave",
        allowed=f"{most:.4f}",
        hint="allow a larger drop or budget, give more calibration samples, or train the "
        "network for few bits",
    )
