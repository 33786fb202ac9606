"""How results are shown: tables for people, canonical JSON for programs."""

from __future__ import annotations

import dataclasses
import enum
import functools
import json
import os
import sys
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Literal, cast

import click
import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

if TYPE_CHECKING:
    from typing import TextIO, TypeAlias

    from _typeshed import DataclassInstance

    Json: TypeAlias = "str | int | float | bool | list[Json] | dict[str, Json] | None"

# A pipe has no width: nothing is cut or wrapped for it.
_PIPE_WIDTH = 10_000


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its title, and to which side its cells are set."""

    title: str
    side: Literal["left", "right"] = "left"


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text under columns."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    title: str = ""


def console(stream: TextIO) -> Console:
    """Return a console on ``stream``; plain when it is not a terminal or NO_COLOR is set."""
    terminal = stream.isatty()
    plain = not terminal or bool(os.environ.get("NO_COLOR"))
    return Console(
        file=stream,
        force_terminal=terminal,
        color_system=None if plain else "auto",
        no_color=plain,
        highlight=False,
        emoji=False,
        markup=False,
        width=None if terminal else _PIPE_WIDTH,
    )


def show_table(table: Table) -> None:
    """Print a table on stdout."""
    shown = RichTable(
        title=Text(table.title, "bold") if table.title else None,
        title_justify="left",
        box=SIMPLE_HEAD,
        pad_edge=False,
        show_edge=False,
    )
    for column in table.columns:
        shown.add_column(
            column.title, justify=column.side, overflow="fold", no_wrap=column.side == "right"
        )
    for row in table.rows:
        shown.add_row(*(Text(cell) for cell in row))
    out = console(sys.stdout)
    with out.capture() as captured:
        out.print(shown)
    # A table fills its last column with blanks; files and diffs are better off without.
    click.echo("\n".join(line.rstrip() for line in captured.get().splitlines()))


def show_pairs(pairs: Mapping[str, str]) -> None:
    """Print names and values on stdout, one a line, the values aligned."""
    width = max(map(len, pairs), default=0)
    for name, value in pairs.items():
        click.echo(f"{name:<{width}}  {value}")


@functools.singledispatch
def to_json(value: object) -> Json:
    """Return ``value`` in JSON's types: records by field, enumerations by value."""
    if dataclasses.is_dataclass(value):
        return {f.name: to_json(getattr(value, f.name)) for f in dataclasses.fields(value)}
    return str(value)


@to_json.register(type(None))
@to_json.register(str)
@to_json.register(bool)
@to_json.register(int)
@to_json.register(float)
def _(value: str | float | None) -> Json:
    return value


@to_json.register(enum.Enum)
def _(value: enum.Enum) -> Json:
    return to_json(value.value)


@to_json.register(np.generic)
@to_json.register(np.ndarray)
def _(value: np.generic | np.ndarray[Any, Any]) -> Json:
    return cast("Json", value.tolist())


@to_json.register(Mapping)
def _(value: Mapping[object, object]) -> Json:
    return {str(k): to_json(v) for k, v in value.items()}


@to_json.register(Sequence)
def _(value: Sequence[object]) -> Json:
    return [to_json(v) for v in value]


@to_json.register(AbstractSet)
def _(value: AbstractSet[object]) -> Json:
    return [to_json(v) for v in sorted(value, key=str)]


@to_json.register(PurePath)
def _(value: PurePath) -> Json:
    return value.as_posix()


def fields(record: DataclassInstance) -> dict[str, object]:
    """Return the fields of a record by name, as they are."""
    return {f.name: getattr(record, f.name) for f in dataclasses.fields(record)}


def spell(value: object) -> str:
    """Return a value of a summary as a person reads it."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        pairs = cast("Mapping[object, object]", value)
        return ", ".join(f"{name} {spell(held)}" for name, held in pairs.items())
    return str(value)


def canonical_json(value: object) -> str:
    """Return JSON text that depends on ``value`` alone: sorted keys, ASCII, no NaN."""
    return json.dumps(to_json(value), sort_keys=True, indent=2, allow_nan=False)


def show_json(value: object) -> None:
    """Print ``value`` on stdout as canonical JSON."""
    click.echo(canonical_json(value))
