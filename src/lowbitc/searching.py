"""Find bits for each layer: as few as a bound on the loss allows, or as a budget asks for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lowbitc.compilation import silent
from lowbitc.compiler.diagnostics import Diagnostic, error, raise_errors, warning
from lowbitc.options import settle
from lowbitc.paths import Path as MixPath
from lowbitc.paths import lay_path
from lowbitc.trials import Trials
from lowbitc.walking import Bounds, Tried, Walk

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import onnx

    from lowbitc.compilation import Report
    from lowbitc.compiler.datasets.opening import DataSource
    from lowbitc.options import Options
    from lowbitc.targets.container import Json
    from lowbitc.trials import Trial


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
    bounds = Bounds(max_drop, max_size, max_energy, max_nps)
    return search_with(model, options, bounds, data=data, metric=metric)


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
    walk = Walk(trials, path, bounds)
    first = walk.first_within_budget()
    budgeted = path.mixes[first]
    chosen = walk.tried(budgeted) if bounds.max_drop is None else walk.farthest(first)
    return Found(
        chosen=chosen,
        path=path,
        tried=tuple(sorted(walk.all.values(), key=lambda one: one.mix.divergence)),
        labelled=trials.labelled,
        metric=trials.metric.name,
        limit=trials.options.limit,
        diagnostics=(
            *trials.diagnostics,
            *chosen.trial.made.diagnostics,
            *_doubts(chosen.trial, bounds),
        ),
    )


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
