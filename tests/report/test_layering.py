"""Boxes stand below what they read, do not overlap, and edges pass between them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lowbitc.cli.report.layering import Layout, lay_out

Edges = list[tuple[int, int]]


@st.composite
def networks(draw: st.DrawFn) -> tuple[int, Edges]:
    count = draw(st.integers(1, 14))
    pairs = st.tuples(st.integers(0, count - 1), st.integers(0, count - 1))
    edges = draw(st.lists(pairs, max_size=24))
    return count, sorted({(a, b) for a, b in edges if a < b})


@given(networks())
def test_every_edge_leads_down(network: tuple[int, Edges]) -> None:
    count, edges = network
    found = lay_out(count, edges)
    for (source, target), route in zip(edges, found.routes, strict=True):
        ranks = [rank for _, rank in route]
        assert ranks == list(range(found.rank[source], found.rank[target] + 1))
        assert (route[0][0], route[-1][0]) == (found.x[source], found.x[target])


@given(networks())
def test_no_two_boxes_overlap_and_no_edge_crosses_a_box(network: tuple[int, Edges]) -> None:
    count, edges = network
    found = lay_out(count, edges)
    for a in range(count):
        for b in range(a):
            if found.rank[a] == found.rank[b]:
                assert abs(found.x[a] - found.x[b]) > 1 - 1e-9
        for route in found.routes:
            for x, rank in route[1:-1]:
                if rank == found.rank[a]:
                    assert abs(x - found.x[a]) > 0.5


def widths(layout: Layout) -> float:
    return layout.right - layout.left


def test_a_chain_is_a_straight_line() -> None:
    found = lay_out(5, [(i, i + 1) for i in range(4)])
    assert len(set(found.x)) == 1
    assert widths(found) == 1


def test_a_shortcut_stays_beside_the_chain() -> None:
    found = lay_out(4, [(0, 1), (1, 2), (2, 3), (0, 3)])
    assert widths(found) < 2


def test_an_input_that_is_read_late_stands_above_its_reader() -> None:
    found = lay_out(4, [(0, 1), (1, 2), (3, 2)])
    assert found.rank[3] == found.rank[2] - 1


def test_nothing_has_a_layout_too() -> None:
    assert lay_out(0, []).ranks == 0
