"""Intervals are those of their papers, hold what they promise, and never make few look certain."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowbitc.compiler.metrics.intervals import (
    Pairs,
    drop,
    drop_interval,
    newcombe,
    samples_needed,
    value_interval,
    wilson,
)
from lowbitc.compiler.metrics.naming import parse_metric
from lowbitc.compiler.metrics.tally import Tally
from tests.metrics.scoring import measured, softened

if TYPE_CHECKING:
    from lowbitc.compiler.metrics.metric import Row

TOP1 = parse_metric("top1")


def _share(hits: int, count: int) -> Tally:
    return Tally({((1, 0),): hits, ((0, 0),): count - hits})


@pytest.mark.parametrize(
    ("hits", "count", "low", "high"),
    [  # Newcombe, Two-sided confidence intervals for the single proportion, 1998, table I.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilsons_interval_is_the_published_one(
    hits: int, count: int, low: float, high: float
) -> None:
    found = wilson(hits, count, 0.95)
    assert (found.low, found.high) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(
    ("pairs", "low", "high"),
    [  # Newcombe, Improved confidence intervals ... paired data, 1998, table III, method 10.
        (Pairs(36, 12, 2, 0), 0.0569, 0.3404),
        (Pairs(0, 0, 0, 30), -0.1135, 0.1135),
        (Pairs(54, 0, 0, 0), -0.0664, 0.0664),
    ],
)
def test_newcombes_paired_interval_is_the_published_one(
    pairs: Pairs, low: float, high: float
) -> None:
    found = newcombe(pairs, 0.95)
    assert (found.low, found.high) == pytest.approx((low, high), abs=5e-5)


def test_a_paired_interval_is_narrower_than_two_apart() -> None:
    together = newcombe(Pairs(900, 20, 10, 70), 0.95)
    apart = math.hypot(0.02, 0.02)
    assert together.high - together.low < apart


@given(
    both=st.integers(0, 400),
    theirs=st.integers(0, 50),
    mine=st.integers(0, 50),
    neither=st.integers(1, 100),
)
def test_the_interval_of_a_drop_holds_the_drop_and_turns_with_its_sides(
    both: int, theirs: int, mine: int, neither: int
) -> None:
    pairs = Pairs(both, theirs, mine, neither)
    found = newcombe(pairs, 0.95)
    drop = (theirs - mine) / pairs.count
    assert found.low - 1e-12 <= drop <= found.high + 1e-12
    turned = newcombe(Pairs(both, mine, theirs, neither), 0.95)
    assert (turned.low, turned.high) == pytest.approx((-found.high, -found.low))


@pytest.mark.parametrize("name", ["top1", "f1-macro", "auc", "sqnr", "cer"])
def test_an_interval_holds_the_truth_as_often_as_it_says(name: str) -> None:
    """The figure of very many samples is the truth; that of 200 drawn anew has it inside."""
    metric = parse_metric(name)
    held = 0
    draws = 200
    truth = _figure(name, 20_000, 10_000)
    for seed in range(draws):
        tally = _tally(name, 200, seed)
        found = value_interval(metric, tally, 0.9)
        held += found.low <= truth <= found.high
    # Of 200 draws at 90 %, 180 are expected; four standard deviations below are 163.
    assert held >= 163


@pytest.mark.parametrize("name", ["top1", "f1-macro", "auc", "cer"])
def test_the_interval_of_a_drop_holds_the_truth_as_often_as_it_says(name: str) -> None:
    metric = parse_metric(name)
    truth = drop(metric, _tally(name, 20_000, 10_000))
    held = 0
    for seed in range(200):
        found = drop_interval(metric, _tally(name, 200, seed), 0.9)
        held += found.low <= truth <= found.high
    assert held >= 163


def _figure(name: str, count: int, seed: int) -> float:
    return parse_metric(name).value(_tally(name, count, seed).rows())


def _tally(name: str, count: int, seed: int) -> Tally:
    """Return a program that is float with noise, on data drawn anew."""
    random = np.random.default_rng(seed)
    metric = parse_metric(name)
    if name == "cer":
        labels = random.integers(1, 4, (count, 4))
        lines = np.eye(4)[labels] * 2 + random.normal(0, 1, (count, 4, 4))
        noisy = lines + random.normal(0, 0.7, lines.shape)
        return measured(metric, noisy, labels, lines)
    scores, labels = softened(count, 2 if name == "auc" else 4, seed=seed)
    noise = random.normal(0, 0.7, scores.shape)
    return measured(metric, scores + noise, labels, scores)


def test_few_samples_never_look_certain() -> None:
    assert wilson(10, 10, 0.95).low < 0.73
    cer = parse_metric("cer")
    perfect = Tally({((0, 5),): 20})
    assert value_interval(cer, perfect, 0.95).high == math.inf
    more = Tally({((0, 5),): 1000})
    assert 0.003 < value_interval(cer, more, 0.95).high < 0.005


def test_a_metric_without_bound_and_without_spread_says_nothing() -> None:
    assert value_interval(parse_metric("mse"), Tally({((0.5, 1),): 100}), 0.95).low == -math.inf


def test_the_samples_that_would_do_are_the_fewest_that_decide() -> None:
    tally = _share(98, 100)
    needed = samples_needed(TOP1, tally, 0.97, 0.95, drops=False)
    assert needed is not None
    assert wilson(0.98 * needed, needed, 0.95).low > 0.97
    assert wilson(0.98 * (needed - 1), needed - 1, 0.95).low <= 0.97


def test_no_number_of_samples_parts_a_figure_from_itself() -> None:
    assert samples_needed(TOP1, _share(97, 100), 0.97, 0.95, drops=False) is None


def test_the_samples_that_would_do_for_a_drop_decide() -> None:
    pairs: dict[tuple[Row, ...], int] = {
        ((1, 0), (1, 0)): 190,
        ((0, 0), (1, 0)): 4,
        ((1, 0), (0, 0)): 2,
        ((0, 0), (0, 0)): 4,
    }
    needed = samples_needed(TOP1, Tally(pairs), 0.02, 0.95, drops=True)
    assert needed is not None
    scaled = Pairs(190, 4, 2, 4).times(needed / 200)
    assert newcombe(scaled, 0.95).high < 0.02


def test_the_samples_that_would_do_for_other_figures_shrink_the_interval_enough() -> None:
    metric = parse_metric("auc")
    tally = _tally("auc", 200, 5)
    value = metric.value(tally.rows())
    now = value_interval(metric, tally, 0.95)
    bound = value - (now.high - now.low) / 4
    needed = samples_needed(metric, tally, bound, 0.95, drops=False)
    assert needed is not None
    assert 780 <= needed <= 820
