"""HTML and SVG as values: whatever is no markup yet is escaped when it is put into some."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_EMPTY = frozenset({"br", "col", "circle", "input", "line", "meta", "path", "rect"})
"""Elements that hold nothing."""


@dataclass(frozen=True, slots=True)
class Html:
    """Text that is markup already."""

    text: str


Child = Html | str | None


def element(name: str, /, *children: Child, **attributes: str | float | bool | None) -> Html:
    """Return an element; an underscore in an attribute's name stands for a hyphen.

    A name that Python keeps for itself ends in one (``class_``). Attributes that are None or
    False are left out; True stands for an attribute without a value.
    """
    spelled = "".join(
        f" {_spell(key)}" if value is True else f' {_spell(key)}="{_value(value)}"'
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    if name in _EMPTY:
        return Html(f"<{name}{spelled}{'/' if name in _SHAPES else ''}>")
    return Html(f"<{name}{spelled}>{join(children).text}</{name}>")


_SHAPES = frozenset({"circle", "line", "path", "rect"})


def join(children: Iterable[Child], between: str = "") -> Html:
    """Return children one after the other, texts among them escaped."""
    parts = (c.text if isinstance(c, Html) else html.escape(c) for c in children if c is not None)
    return Html(html.escape(between).join(parts))


def number(value: float) -> str:
    """Spell a coordinate: at most two decimals, none where they are 0."""
    return f"{value:.2f}".rstrip("0").rstrip(".") if value % 1 else str(int(value))


def _spell(key: str) -> str:
    return key.rstrip("_").replace("_", "-") if key not in _CAMEL else _CAMEL[key]


_CAMEL = {"view_box": "viewBox", "preserve_aspect_ratio": "preserveAspectRatio"}


def _value(value: str | float) -> str:
    return html.escape(value) if isinstance(value, str) else number(value)
