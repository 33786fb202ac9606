"""Data sets from ``package.module:function``: a function that yields batches."""

from __future__ import annotations

import importlib
import itertools
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from lowbitc.compiler.datasets.arrays import array_dataset
from lowbitc.compiler.datasets.stream import Batch, InputSpec, empty
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

    def batches(self, size: int) -> Iterator[Batch]:
        """Yield batches; each dictionary of the function is cut by itself."""
        for given in _call(self.name, self.function):
            arrays = {k: np.asarray(v) for k, v in given.items()}
            yield from array_dataset(self.name, arrays, self.specs).batches(size)


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
    except (ImportError, AttributeError, ValueError) as problem:
        raise CompileError([_unusable(spelled, str(problem))]) from problem
    finally:
        sys.path[:] = path
    if not callable(function):
        raise CompileError([_unusable(spelled, "not a function")])
    made = cast("BatchFunction", function)
    count = sum(_length(spelled, given) for given in _call(spelled, made))
    if count == 0:
        raise CompileError([empty(spelled)])
    return FunctionDataset(spelled, made, specs, count)


def _call(name: str, function: BatchFunction) -> Iterator[Mapping[str, Array]]:
    # What a user's function really gives is not known before it is looked at.
    made = cast("object", function())
    if not isinstance(made, Iterable):
        raise CompileError([_unusable(name, f"it returned {type(made).__name__}")])
    for given in cast("Iterable[object]", made):
        if not isinstance(given, Mapping):
            raise CompileError([_unusable(name, f"it yielded {type(given).__name__}")])
        yield cast("Mapping[str, Array]", given)


def _length(name: str, given: Mapping[str, Array]) -> int:
    first = next(itertools.islice(given.values(), 1), None)
    if first is None:
        raise CompileError([_unusable(name, "it yielded an empty dictionary")])
    return len(first)


def _unusable(name: str, found: str) -> Diagnostic:
    return error(
        "LB732",
        f"the data function {name} cannot be used",
        found=found,
        allowed="package.module:function, which yields dictionaries of arrays, samples first",
        hint="run the function by itself first",
    )
