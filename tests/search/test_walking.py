"""A walk goes as far as the bound lets it, and past a step that is too much."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from lowbitc.compiler.diagnostics import CompileError
from lowbitc.mixing import Mix
from lowbitc.passes.measure_sensitivity import Part
from lowbitc.walking import Bounds, Walk

COSTS = {"a": 0.001, "b": 0.002, "c": 0.5, "d": 0.003, "e": 0.1}


def _mix(layers: str) -> Mix:
    lost = sum(0.001 for _ in layers)
    return Mix({(layer, Part.WEIGHTS): 4 for layer in layers}, lost, lost)


class _Fake:
    """Stands for trials and path: a layer loses its cost and saves ten bytes."""

    def __init__(self, costs: dict[str, float], layers: str, margin: float) -> None:
        self.costs, self.margin = costs, margin
        self.mixes = tuple(_mix(layers[:n]) for n in range(len(layers) + 1))
        self.full = self.run(Mix())
        self.compiled = 0

    def bits(self, mix: Mix) -> Mix:
        return mix

    def run(self, mix: Mix, _weights: str = "", *, measured: bool = True) -> Any:  # noqa: ANN401
        self.compiled = getattr(self, "compiled", 0) + measured
        drop = sum(self.costs[layer] for layer, _ in mix.widths)
        size = 100 - 10 * len(mix.widths)
        held = {"drop": drop, "margin": self.margin if drop else 0.0, "size_bytes": size}
        return SimpleNamespace(**held, energy_j=1.0, processors=1)


def _walk(
    layers: str = "abcde",
    costs: dict[str, float] = COSTS,
    margin: float = 0.0,
    **bounds: Any,  # noqa: ANN401
) -> Walk:
    fake = _Fake(costs, layers, margin)
    return Walk(cast("Any", fake), cast("Any", fake), Bounds(**bounds))


def _layers(mix: Mix) -> str:
    return "".join(sorted(layer for layer, _ in mix.widths))


def test_a_step_that_is_too_much_is_gone_around() -> None:
    walk = _walk(max_drop=0.01)
    assert _layers(walk.farthest(0).mix) == "abd"


def test_a_drop_keeps_its_bound_with_its_standard_error() -> None:
    walk = _walk(margin=0.008, max_drop=0.01)
    assert _layers(walk.farthest(0).mix) == "a"


def test_all_is_taken_where_nothing_is_too_much() -> None:
    assert _layers(_walk(max_drop=1.0).farthest(0).mix) == "abcde"


def test_nothing_is_taken_where_all_is_too_much() -> None:
    costs = dict.fromkeys("abcde", 0.5)
    assert _layers(_walk(costs=costs, max_drop=0.01).farthest(0).mix) == ""


def test_programs_are_made_a_few_times_however_long_the_path() -> None:
    layers = "".join(chr(1000 + n) for n in range(300))
    walk = _walk(layers, dict.fromkeys(layers, 0.001), max_drop=0.1)
    found = walk.farthest(0)
    assert len(walk.all) <= 11
    assert 0.08 <= found.trial.drop <= 0.1


def test_the_first_mix_within_a_budget_is_found() -> None:
    walk = _walk(max_size=70)
    assert walk.first_within_budget() == 3


@pytest.mark.parametrize(("margin", "told"), [(0.0, "0.5030 with"), (0.008, "0.5030 ± 0.0080")])
def test_a_budget_and_a_drop_that_exclude_each_other_are_told(margin: float, told: str) -> None:
    walk = _walk(margin=margin, max_size=70, max_drop=0.01)
    with pytest.raises(CompileError) as refused:
        walk.farthest(walk.first_within_budget())
    (found,) = refused.value.diagnostics
    assert found.code == "LB452"
    assert f"a drop of {told}" in found.found


def test_a_budget_below_all_mixes_is_told() -> None:
    with pytest.raises(CompileError) as refused:
        _walk(max_size=10).first_within_budget()
    assert [d.code for d in refused.value.diagnostics] == ["LB451"]
