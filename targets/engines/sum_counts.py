"""Add up what was counted over parts of the data."""

from __future__ import annotations

import copy
import dataclasses
from typing import TYPE_CHECKING, cast

from lowbitc.targets.engines.events import Counts

if TYPE_CHECKING:
    from collections.abc import Iterable

    from _typeshed import DataclassInstance


def sum_counts(parts: Iterable[Counts]) -> Counts:
    """Return the counts of all samples together, whatever the order of the parts."""
    found = Counts()
    for part in parts:
        _add(found, part)
    return found


def _add(to: DataclassInstance, other: DataclassInstance) -> None:
    """Add whole numbers field by field, and counters by their names."""
    for field in dataclasses.fields(to):
        mine: object = getattr(to, field.name)
        theirs: object = getattr(other, field.name)
        if isinstance(mine, dict):
            named = cast("dict[object, DataclassInstance]", mine)
            for name, count in cast("dict[object, DataclassInstance]", theirs).items():
                if name in named:
                    _add(named[name], count)
                else:
                    named[name] = copy.deepcopy(count)
        else:
            setattr(to, field.name, cast("int", mine) + cast("int", theirs))
