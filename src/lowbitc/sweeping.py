"""Sweep a network over bits: what each setting loses, and what it costs."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lowbitc.compilation import silent
from lowbitc.compiler.bits import parse_bits
from lowbitc.compiler.diagnostics import raise_errors
from lowbitc.mixing import Goal
from lowbitc.options import settle
from lowbitc.paths import lay_path
from lowbitc.searching import Found
from lowbitc.targets.registry import load_target
from lowbitc.trials import Trials
from lowbitc.walking import Tried

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import onnx

    from lowbitc.compilation import Report
    from lowbitc.compiler.datasets.opening import DataSource
    from lowbitc.compiler.diagnostics import Diagnostic
    from lowbitc.mixing import Mix
    from lowbitc.options import Options
    from lowbitc.paths import Path as MixPath
    from lowbitc.targets.container import Json
    from lowbitc.trials import Trial

SETTINGS = ("8/8/8", "8/4/8", "8/4/4", "8/2/4", "8/2/2", "2/2/2", "8/1/4", "1/1/1")
"""What is compiled where nothing else is asked for, as far as the target holds it."""
_TRAIN_ABOVE = 0.1
"""A drop beyond this is no matter of rounding: the network must be trained for such bits."""
_LEAST_DROP, _MOST_DROP = 0.001, 0.05
"""Between these expected drops lie the mixes of a sweep."""


@dataclass(frozen=True, slots=True)
class Point:
    """One setting: its bits, and what was measured; ``front`` where no other is better in all.

    ``found`` holds the mix of a mixed setting, to be written as a lowbitc.toml.
    """

    name: str
    trial: Trial
    front: bool
    found: Found | None = None

    @property
    def needs_training(self) -> bool:
        """Whether rounding alone loses so much that the network must be trained for the bits."""
        return self.trial.drop > _TRAIN_ABOVE

    def as_json(self) -> dict[str, Json]:
        """Return what was measured as plain numbers and texts."""
        return {
            "name": self.name,
            "mixed": self.found is not None,
            "front": self.front,
            "needs_training": self.needs_training,
            **self.trial.as_json(),
        }


@dataclass(frozen=True, slots=True)
class Sweep:
    """All settings in order of size, largest first; drops are of ``metric`` where labelled.

    ``options`` are those that every setting was compiled with, but for its bits.
    """

    points: tuple[Point, ...]
    labelled: bool
    metric: str
    samples: int
    options: Options
    diagnostics: tuple[Diagnostic, ...] = ()

    def as_json(self) -> dict[str, Json]:
        """Return plain dictionaries, lists, numbers and texts."""
        return {
            "points": [point.as_json() for point in self.points],
            "metric": self.metric if self.labelled else "expected drop",
            "labelled": self.labelled,
            "samples": self.samples,
            "calibrated_on": self.options.limit,
        }


def sweep(  # noqa: PLR0913 - one argument a setting
    model: str | Path | onnx.ModelProto,
    *,
    calib: DataSource | None = None,
    data: DataSource | None = None,
    metric: str = "top1",
    settings: Sequence[str] = (),
    mixes: int = 4,
    target: str | None = None,
    config: str | Path | None = None,
    shapes: Sequence[str] = (),
    limit: int | None = None,
    threads: int = 0,
) -> Sweep:
    """Compile and measure a network at many bits, as ``lowbitc sweep`` does.

    Without ``settings``, those of eight, from 8/8/8 to 1/1/1, that the target holds. Raises
    CompileError with every reason.
    """
    options = settle(
        model,
        calib=calib,
        target=target,
        config=config,
        shapes=shapes,
        limit=limit,
        threads=threads,
        search=True,
    )
    return sweep_with(model, options, data=data, metric=metric, settings=settings, mixes=mixes)


def sweep_with(
    model: str | Path | onnx.ModelProto,
    options: Options,
    *,
    data: DataSource | None = None,
    metric: str = "top1",
    settings: Sequence[str] = (),
    mixes: int = 4,
    report: Report = silent,
) -> Sweep:
    """Measure settings of the form a/b/c, and so many mixes of the path of least loss.

    Losses are measured as a search for bits does. Raises CompileError LB401 for a setting that is
    none, LB285 for one that the target does not hold, LB453 for too few samples.
    """
    chip = load_target(options.target)
    held = [text for text in SETTINGS if not any(chip.unheld(parse_bits(text)))]
    kept = options.bits.layers
    wanted = [
        (text, dataclasses.replace(parse_bits(text, kept), unclipped=chip.unclipped_bits))
        for text in dict.fromkeys(settings or held)
    ]
    raise_errors(problem for _, bits in wanted for problem in chip.unheld(bits))
    trials = Trials(model, options, data=data, metric=metric, report=report)
    measured: list[tuple[str, Trial, Found | None]] = [
        (text, trials.run(bits), None) for text, bits in wanted
    ]
    if mixes:
        path = lay_path(trials, Goal.BOTH)
        tried = [Tried(mix, trials.run(path.bits(mix))) for mix in _spread(path, mixes)]
        for number, one in enumerate(tried):
            found = Found(
                chosen=one,
                path=path,
                tried=tuple(tried),
                labelled=trials.labelled,
                metric=trials.metric.name,
                limit=trials.options.limit,
                diagnostics=one.trial.made.diagnostics,
            )
            measured.append((f"mix {number + 1}", one.trial, found))
    measured.sort(key=lambda one: -one[1].size_bytes)
    every = [trial for _, trial, _ in measured]
    points = tuple(Point(name, t, _on_front(t, every), found) for name, t, found in measured)
    samples = points[0].trial.samples if points else 0
    return Sweep(
        points, trials.labelled, trials.metric.name, samples, trials.options, trials.diagnostics
    )


def _spread(path: MixPath, count: int) -> Iterator[Mix]:
    """Yield mixes whose expected drops lie evenly, by ratio, between the least and the most."""
    taken: set[int] = set()
    for step in range(count):
        share = step / max(count - 1, 1)
        most = _LEAST_DROP * (_MOST_DROP / _LEAST_DROP) ** share
        within = [i for i, mix in enumerate(path.mixes) if mix.drop <= most]
        index = max(within, default=0)
        if index and index not in taken:
            taken.add(index)
            yield path.mixes[index]


def _on_front(trial: Trial, others: Sequence[Trial]) -> bool:
    """Whether no other setting is as good in loss, size and energy, and better in one."""
    mine = _figures(trial)
    return not any(
        all(a <= b for a, b in zip(_figures(other), mine, strict=True)) and _figures(other) != mine
        for other in others
    )


def _figures(trial: Trial) -> tuple[float, float, float]:
    return trial.drop, float(trial.size_bytes), trial.energy_j
