"""How weights are rounded: the steps of the recipe, and the ladder of steps for an ablation."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from lowbitc.compiler.statistics.fit_layer import FitOptions
from lowbitc.compiler.statistics.round_levels import Effort

_FULL = 8
_FEW = 2
_FINE = FitOptions(clip_rounds=0)
_MEDIUM = FitOptions(Effort(scales=(0.8, 0.85, 0.9, 0.95, 1.0, 1.05), rounds=1))
_COARSE = FitOptions(
    Effort(scales=(0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.35), rounds=3, sweeps=3),
    polish_rounds=2,
    free_rounding=True,
)


@dataclass(frozen=True, slots=True)
class Recipe:
    """Which steps to take; the defaults are those of every network.

    ``fine``, ``medium`` and ``coarse`` are for 8, 4 and fewer weight bits.
    """

    fine: FitOptions = _FINE
    medium: FitOptions = _MEDIUM
    coarse: FitOptions = _COARSE
    correct_residuals: bool = True
    weigh_clips: bool = True
    fit_stages: bool = True
    couple_outputs: bool = True
    tune_stages: bool = True

    def options(self, width: int) -> FitOptions:
        """Return what a layer of so many weight bits gets."""
        if width >= _FULL:
            return self.fine
        return self.coarse if width <= _FEW else self.medium


def _plain(options: FitOptions) -> Recipe:
    return Recipe(
        options,
        options,
        options,
        correct_residuals=False,
        weigh_clips=False,
        fit_stages=False,
        couple_outputs=False,
        tune_stages=False,
    )


_ONE_TRY = Effort()
_ALL_BUT_RESIDUALS = Recipe(
    correct_residuals=False,
    weigh_clips=False,
    fit_stages=False,
    couple_outputs=False,
    tune_stages=False,
)

LADDER: tuple[tuple[str, Recipe], ...] = (
    (
        "nearest levels, means corrected",
        _plain(FitOptions(Effort(feedback=False), mismatch=False)),
    ),
    ("error feedback", _plain(FitOptions(_ONE_TRY, mismatch=False))),
    ("mismatch target", _plain(FitOptions(_ONE_TRY, clip_rounds=0))),
    ("clipped outputs free", _plain(FitOptions(_ONE_TRY))),
    ("scale search, coordinate descent", _ALL_BUT_RESIDUALS),
    ("residuals corrected", dataclasses.replace(_ALL_BUT_RESIDUALS, correct_residuals=True)),
    (
        "clips weighed by their readers",
        dataclasses.replace(_ALL_BUT_RESIDUALS, correct_residuals=True, weigh_clips=True),
    ),
    ("output stages fitted", Recipe(couple_outputs=False, tune_stages=False)),
    ("errors of outputs coupled", Recipe(tune_stages=False)),
    ("gains, biases and clips tuned together", Recipe()),
)
"""Steps, each with those before it, for a table of what every one buys."""
