"""The path of mixes goes from 8 bits down, cheapest loss first."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from lowbitc.mixing import Goal, Option, Saving, find_path
from lowbitc.passes.measure_sensitivity import Part, Sensitivity

WHOLE = Saving(1000, 1.0)


def _option(layer: str, width: int, lost: float, saved: float, energy: float = 0.0) -> Option:
    return Option(Sensitivity(layer, Part.WEIGHTS, width, lost, lost), Saving(saved, energy))


def test_the_step_that_loses_least_for_what_it_saves_comes_first() -> None:
    options = [_option("dear", 4, 2.0, 100), _option("cheap", 4, 1.0, 100)]
    path = find_path(options, WHOLE, Goal.SIZE)
    assert [dict(mix.widths) for mix in path] == [
        {},
        {("cheap", Part.WEIGHTS): 4},
        {("cheap", Part.WEIGHTS): 4, ("dear", Part.WEIGHTS): 4},
    ]
    assert [mix.drop for mix in path] == [0.0, 1.0, 3.0]


def test_a_width_above_the_hull_is_skipped() -> None:
    options = [_option("a", 4, 3.0, 100), _option("a", 2, 3.5, 200), _option("b", 4, 2.5, 100)]
    path = find_path(options, WHOLE, Goal.SIZE)
    assert [dict(mix.widths).get(("a", Part.WEIGHTS)) for mix in path] == [None, 2, 2]


def test_what_saves_nothing_is_not_done() -> None:
    path = find_path([_option("a", 4, 0.0, -10), _option("a", 2, 0.1, 0)], WHOLE, Goal.SIZE)
    assert len(path) == 1


def test_the_goal_decides_what_counts() -> None:
    options = [_option("large", 4, 1.0, 500), _option("busy", 4, 1.0, 1, 0.5)]
    for goal, first in ((Goal.SIZE, "large"), (Goal.ENERGY, "busy")):
        assert next(iter(find_path(options, WHOLE, goal)[1].widths))[0] == first


LOSSES = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from([4, 2, 1]), st.floats(0, 5)), max_size=9
)


@given(LOSSES)
def test_losses_rise_and_widths_fall_along_any_path(found: list[tuple[str, int, float]]) -> None:
    held = {(layer, width): lost for layer, width, lost in found}
    options = [_option(a, w, lost, 100 * (8 - w)) for (a, w), lost in sorted(held.items())]
    path = find_path(options, WHOLE, Goal.BOTH)
    for before, after in itertools.pairwise(path):
        assert after.divergence >= before.divergence
        assert all(after.widths[key] <= width for key, width in before.widths.items())
        assert after.widths != before.widths
