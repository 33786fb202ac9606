"""Data sets from ``package.module:function``: a function that yields batches."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from lowbitc.compiler.datasets.arrays import ArrayDataset, array_dataset
from lowbitc.compiler.datasets.stream import Batch, InputSpec, empty, joined
from lowbitc.compiler.diagnostics import CompileError, Diagnostic, error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lowbitc.compiler.elements import Array

BatchFunction = Callable[[], Iterable[Mapping[str, "Array"]]]


@dataclass(frozen=True, slots=True)
class FunctionDataset:
    """Batches of a function, cut anew to the wanted size; called again for each reading."""

    name: str
    function: BatchFunction
    specs: Sequence[InputSpec]
    count: int

    def __len__(self) -> int:
        """Return the number of samples, counted when the data set was opened."""
        return self.count

    def batches(self, size: int, start: int = 0, stop: int | None = None) -> Iterator[Batch]:
        """Yield batches of the same samples however the function cuts them.

        Raises CompileError LB732 where it gives fewer samples than when it was counted.
        """
        left = (self.count if stop is None else min(stop, self.count)) - start
        skip, parts = start, list[Batch]()
        for given in _call(self.name, self.function):
            dataset = _dataset(self.name, given, self.specs)
            if len(dataset) <= skip:
                skip -= len(dataset)
                continue
            for batch in dataset.batches(len(dataset), skip):
                parts.append(batch.first(left))
                left -= parts[-1].size
            skip = 0
            while sum(part.size for part in parts) >= size:
                whole = joined(parts)
                yield whole.first(size)
                parts = [whole.behind(size)] if whole.size > size else []
            if left <= 0:
                break
        if parts:
            yield joined(parts)
        if left > 0:
            raise CompileError([_unusable(self.name, f"{left} samples less than the first time")])


def function_dataset(spelled: str, specs: Sequence[InputSpec]) -> FunctionDataset:
    """Import ``package.module:function`` (the current folder is searched too) and count samples.

    Raises CompileError LB732 when it cannot be used.
    """
    module_name, _, function_name = spelled.partition(":")
    here = str(Path.cwd())
    path = list(sys.path)
    try:
        sys.path.insert(0, here)
        function = getattr(importlib.import_module(module_name), function_name)
    except Exception as problem:
        # A module of the user's own may raise anything when it is imported.
        raise CompileError([_unusable(spelled, _spelled(problem))]) from problem
    finally:
        sys.path[:] = path
    if not callable(function):
        raise CompileError([_unusable(spelled, "not a function")])
    made = cast("BatchFunction", function)
    count = sum(len(_dataset(spelled, given, specs)) for given in _call(spelled, made))
    if count == 0:
        raise CompileError([empty(spelled)])
    return FunctionDataset(spelled, made, specs, count)


def _call(name: str, function: BatchFunction) -> Iterator[Mapping[str, Array]]:
    # What a user's function really gives is not known before it is looked at.
    try:
        made = iter(cast("Iterable[object]", function()))
    except Exception as problem:
        raise CompileError([_unusable(name, _spelled(problem))]) from problem
    while True:
        try:
            given = next(made)
        except StopIteration:
            return
        except Exception as problem:
            raise CompileError([_unusable(name, _spelled(problem))]) from problem
        if not isinstance(given, Mapping):
            raise CompileError([_unusable(name, f"it yielded {type(given).__name__}")])
        yield cast("Mapping[str, Array]", given)


def _dataset(name: str, given: Mapping[str, Array], specs: Sequence[InputSpec]) -> ArrayDataset:
    if not given:
        raise CompileError([_unusable(name, "it yielded an empty dictionary")])
    return array_dataset(name, {k: np.asarray(v) for k, v in given.items()}, specs)


def _spelled(problem: Exception) -> str:
    return f"it raised {type(problem).__name__}: {problem}"


def _unusable(name: str, found: str) -> Diagnostic:
    return error(
        "LB732",
        f"the data function {name} cannot be used",
        found=found,
        allowed="package.module:function, which yields dictionaries of arrays, samples first",
        hint="run the function by itself first",
    )
