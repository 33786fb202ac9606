"""Error sums do not depend on order or grouping, and name their corner cases."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowbitc.compiler.statistics.error_sums import NO_ERROR_DB, ErrorSums, ExactSum, decibels

_FLOATS = st.floats(-1e150, 1e150, allow_nan=False)


@given(st.lists(_FLOATS, max_size=30), st.randoms())
def test_a_sum_is_rounded_once_in_any_order(terms: list[float], random: object) -> None:
    wanted = float(sum((Fraction(t) for t in terms), Fraction(0)))
    for order in (terms, terms[::-1], sorted(terms)):
        total = ExactSum()
        for term in order:
            total.add(term)
        assert total.value == wanted
    del random


@pytest.mark.parametrize("cuts", [(5,), (2, 3), (1, 1, 3), (4, 1)])
def test_batches_of_any_size_give_the_same_figures(cuts: tuple[int, ...]) -> None:
    random = np.random.default_rng(0)
    a = random.normal(size=(5, 7, 11)).astype(np.float32)
    b = a + random.normal(0, 0.1, a.shape).astype(np.float32)
    whole, parts = ErrorSums(), ErrorSums()
    whole.add(a, b, 5)
    start = 0
    for cut in cuts:
        parts.add(a[start : start + cut], b[start : start + cut], cut)
        start += cut
    assert parts.figures() == whole.figures()
    assert parts.mean_error == whole.mean_error


def test_the_figures_are_those_of_their_definitions() -> None:
    sums = ErrorSums()
    sums.add(np.array([[3.0, 4.0]]), np.array([[3.0, 3.0]]), 1)
    found = sums.figures()
    assert found.sqnr_db == pytest.approx(10 * math.log10(25))
    assert found.relative_error == pytest.approx(0.2)
    assert found.cosine == pytest.approx(21 / (5 * math.sqrt(18)))
    assert found.max_error == 1.0


@pytest.mark.parametrize(
    ("power", "reference", "wanted"),
    [(0.0, 0.0, 0.0), (1.0, 0.0, NO_ERROR_DB), (0.0, 1.0, -NO_ERROR_DB), (10.0, 1.0, 10.0)],
)
def test_ratios_stay_finite(power: float, reference: float, wanted: float) -> None:
    assert decibels(power, reference) == wanted


def test_values_without_error_and_values_that_are_zero() -> None:
    same, nothing, wrong = ErrorSums(), ErrorSums(), ErrorSums()
    same.add(np.ones((1, 2)), np.ones((1, 2)), 1)
    nothing.add(np.zeros((1, 2)), np.zeros((1, 2)), 1)
    wrong.add(np.zeros((1, 2)), np.ones((1, 2)), 1)
    assert same.figures().sqnr_db == nothing.figures().sqnr_db == NO_ERROR_DB
    assert (nothing.figures().cosine, wrong.figures().cosine) == (1.0, 0.0)
    assert wrong.figures().relative_error == 1.0
