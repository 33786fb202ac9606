"""Spell what a search found as a ``lowbitc.toml``, with what was measured in its comments."""

from __future__ import annotations

import glob
from typing import TYPE_CHECKING

from lowbitc.compiler.config import Config
from lowbitc.compiler.write_config import spell_config
from lowbitc.passes.measure_sensitivity import Part

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lowbitc.options import Options
    from lowbitc.searching import Found
    from lowbitc.walking import Tried


def spell_found(found: Found, options: Options) -> str:
    """Return the text of a ``lowbitc.toml`` that compiles to the chosen program.

    Calibration data is left out: its path is the user's.
    """
    bits = found.path.bits(found.chosen.mix)
    config = Config(
        bits=str(bits),
        target=options.target,
        limit=found.limit,
        clip=options.clip,
        offload=options.offload,
        mode=options.mode,
        states=tuple(f"{state.input}={state.output}" for state in options.states),
        weights=found.chosen.trial.weights,
        layers=bits.layers,
        preprocess=options.preprocess,
        shapes=tuple(
            f"{name}={','.join('N' if size is None else str(size) for size in shape)}"
            for name, shape in options.shapes.items()
        ),
    )
    return spell_config(config, tuple(_header(found)), dict(_remarks(found)))


def describe(tried: Tried, found: Found) -> str:
    """Say in a line what a mix makes of the program, against the most bits everywhere."""
    full, trial = found.path.full, tried.trial
    return (
        f"{_loss(tried, found)}; {trial.size_bytes:,} bytes "
        f"({_change(trial.size_bytes, full.size_bytes)}), {trial.energy_j * 1e6:.4g} µJ a frame "
        f"({_change(trial.energy_j, full.energy_j)}), {trial.processors} NPs"
    )


def _header(found: Found) -> Iterator[str]:
    trial = found.chosen.trial
    bits = found.path.widest.bits
    yield f"Bits by layer, found by lowbitc: what is not named here has {bits}."
    yield f"Calibrated on the first {found.limit} samples, measured on {trial.samples} others:"
    yield f"  {describe(found.chosen, found)}."
    yield f"Size and energy are those of the program and of the chip's cost model, against {bits}."
    yield f"Tried, from {bits} down:"
    for tried in found.tried:
        chosen = " (chosen)" if tried is found.chosen else ""
        yield f"  {tried.mix.narrowed} layers narrower: {describe(tried, found)}{chosen}"


def _remarks(found: Found) -> Iterator[tuple[str, str]]:
    """Yield, for each layer's entry, what its widths cost alone."""
    held = {(s.layer, s.part, s.width): s for s in found.path.sensitivities}
    for name in dict.fromkeys(layer for layer, _ in found.chosen.mix.widths):
        costs: list[str] = []
        for part in Part:
            width = found.path.width(found.chosen.mix, name, part)
            if (lost := held.get((name, part, width))) is not None:
                costs.append(f"{part.value} {lost.divergence:.2g}")
        yield glob.escape(name), f"alone: {', '.join(costs)}"


def _loss(tried: Tried, found: Found) -> str:
    trial = tried.trial
    if trial.value is not None and trial.float_value is not None:
        return (
            f"{found.metric} {trial.value:.4f} (float {trial.float_value:.4f}, "
            f"drop {trial.drop:.4f})"
        )
    drop = f"{trial.drop:.4f} ± {trial.margin:.4f}"
    return f"expected drop {drop} ({trial.agreement:.1%} of the answers as float's)"


def _change(value: float, full: float) -> str:
    return f"{100 * (value / full - 1):+.0f} %" if full else "unchanged"
