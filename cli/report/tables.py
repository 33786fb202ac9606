"""Tables that a reader can sort and filter: semantic, with a caption, numbers set to the right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lowbitc.cli.report.markup import Child, Html, element

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Heading:
    """A column: its title, what it means, and whether it holds numbers."""

    title: str
    meaning: str = ""
    number: bool = True


@dataclass(frozen=True, slots=True)
class Cell:
    """What a cell shows, and by what it is sorted: a number, or the text itself.

    ``bar`` is a share of the column's largest value, drawn behind the text.
    """

    shown: Child
    key: float | str | None = None
    bar: float | None = None
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """Cells, the first of which heads the row; ``layer`` is the key of the layer that it is of."""

    cells: tuple[Cell, ...]
    layer: str = ""
    bad: bool = False


def draw_table(key: str, caption: str, headings: Sequence[Heading], rows: Sequence[Row]) -> Html:
    """Return a table whose headings are buttons that sort it, once the script has run."""
    head = (
        element(
            "th",
            element("button", h.title, type="button", title=h.meaning or None),
            scope="col",
            class_="num" if h.number else None,
        )
        for h in headings
    )
    return element(
        "div",
        element(
            "table",
            element("caption", caption),
            element("thead", element("tr", *head)),
            element("tbody", *(_row(row, headings) for row in rows)),
            id=key,
            class_="sortable",
        ),
        class_="scroll",
        tabindex="0",
        role="region",
        aria_label=caption,
    )


def _row(row: Row, headings: Sequence[Heading]) -> Html:
    cells = (
        _cell(cell, heading, first=not place)
        for place, (cell, heading) in enumerate(zip(row.cells, headings, strict=True))
    )
    return element("tr", *cells, data_layer=row.layer or None, class_="bad" if row.bad else None)


def _cell(cell: Cell, heading: Heading, *, first: bool) -> Html:
    shown: Child = cell.shown
    if cell.bar is not None:
        width = f"width:{100 * min(max(cell.bar, 0.0), 1.0):.0f}%"
        shown = element(
            "span",
            element("span", class_="fill", style=width),
            element("span", cell.shown),
            class_="bar",
        )
    classes = " ".join(part for part in ("num" if heading.number else "", cell.kind) if part)
    key = f"{cell.key:.9g}" if isinstance(cell.key, float) else cell.key
    return element(
        "th" if first else "td",
        shown,
        scope="row" if first else None,
        class_=classes or None,
        data_key=key,
    )
