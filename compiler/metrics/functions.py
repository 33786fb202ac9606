"""Metrics and decoders of the user's own: ``package.module:function``."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from lowbitc.compiler.diagnostics import CompileError, error
from lowbitc.compiler.metrics.metric import Scored, Traits, finite, mean_of, output

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lowbitc.compiler.elements import Array
    from lowbitc.compiler.metrics.metric import Metric, Row, Rows

_LOWER = "lower_is_better"


def find_function(spelled: str) -> Callable[..., object]:
    """Import ``package.module:function``; the current folder is searched too.

    Raises CompileError LB739 when there is none.
    """
    module_name, _, function_name = spelled.partition(":")
    path = list(sys.path)
    try:
        sys.path.insert(0, str(Path.cwd()))
        function: object = getattr(importlib.import_module(module_name), function_name)
    except Exception as problem:
        raise _unusable(spelled, f"{type(problem).__name__}: {problem}") from problem
    finally:
        sys.path[:] = path
    if not callable(function):
        raise _unusable(spelled, "not a function")
    return function


@dataclass(frozen=True, slots=True)
class FunctionMetric:
    """The mean of what a function gives for each sample.

    It is called with a dictionary of outputs [n, …] and with the labels (None where there are
    none), and returns n finite numbers. Higher is better unless the function has an attribute
    ``lower_is_better`` that is true. Rows are (number,).
    """

    name: str
    spelled: str

    @property
    def traits(self) -> Traits:
        """No bound is known."""
        lower = bool(getattr(find_function(self.spelled), _LOWER, False))
        return Traits(higher_is_better=not lower, span=None)

    def rows(self, scored: Scored) -> Sequence[Row]:
        """Call the function; raises CompileError LB739 for what it should not give."""
        outputs = {name: output(scored, name) for name in scored.outputs}
        made = np.asarray(_call(self.spelled, outputs, scored.labels))
        if made.shape != (scored.size,) or made.dtype.kind not in "iufb":
            raise _unusable(
                self.spelled,
                f"an array of shape {made.shape} and type {made.dtype} for {scored.size} samples",
            )
        if not bool(np.isfinite(made.astype(np.float64)).all()):
            raise _unusable(self.spelled, "NaN or infinities")
        return [(float(value),) for value in made.tolist()]

    def value(self, rows: Rows) -> float:
        """Return the mean, rounded once."""
        return mean_of(rows, lambda row: row[0])

    def influence(self, rows: Rows) -> Mapping[Row, float]:
        """Return how far a row is above the mean."""
        value = self.value(rows)
        return {row: row[0] - value for row in rows}

    def chance(self, rows: Rows) -> float | None:
        """Return nothing: what the function measures is not known."""
        del rows
        return None


@dataclass(frozen=True, slots=True)
class Decoded:
    """A metric of what a function makes of the outputs.

    The function is called with a dictionary of outputs [n, …] and returns one array [n, …], or a
    list of n arrays [k, 6] of detections, which are padded with rows of 0.
    """

    metric: Metric
    spelled: str

    @property
    def name(self) -> str:
        """That of the metric."""
        return self.metric.name

    @property
    def traits(self) -> Traits:
        """Those of the metric."""
        return self.metric.traits

    def rows(self, scored: Scored) -> Sequence[Row]:
        """Measure what was decoded."""
        held = scored.reference
        made = Scored(
            {"decoded": self._decode(scored.outputs)},
            scored.labels,
            None if held is None else {"decoded": self._decode(held)},
        )
        return self.metric.rows(made)

    def value(self, rows: Rows) -> float:
        """Return the metric's figure."""
        return self.metric.value(rows)

    def influence(self, rows: Rows) -> Mapping[Row, float]:
        """Return the metric's influence."""
        return self.metric.influence(rows)

    def chance(self, rows: Rows) -> float | None:
        """Return the metric's figure of chance."""
        return self.metric.chance(rows)

    def _decode(self, outputs: Mapping[str, Array]) -> Array:
        given = {name: finite(array) for name, array in outputs.items()}
        made = _call(self.spelled, given)
        count = len(next(iter(given.values())))
        if isinstance(made, np.ndarray):
            array = cast("Array", made)
            if array.ndim and len(array) == count:
                return array
            raise _unusable(self.spelled, f"an array of {array.shape} for {count} samples")
        kind = type(made).__name__
        if not isinstance(made, Sequence) or len(cast("Sequence[object]", made)) != count:
            raise _unusable(self.spelled, f"{kind} for {count} samples")
        parts = [np.asarray(part) for part in cast("Sequence[Array]", made)]
        if any(part.ndim != 2 or part.dtype.kind not in "iuf" for part in parts):  # noqa: PLR2004 - [k, 6]
            raise _unusable(self.spelled, "a list of something else than arrays [k, 6]")
        most = max(len(part) for part in parts)
        return np.stack([np.pad(part, ((0, most - len(part)), (0, 0))) for part in parts])


def _call(spelled: str, *arguments: object) -> object:
    function = find_function(spelled)
    try:
        return function(*arguments)
    except CompileError:
        raise
    except Exception as problem:
        raise _unusable(spelled, f"{type(problem).__name__}: {problem}") from problem


def _unusable(spelled: str, found: str) -> CompileError:
    return CompileError(
        [
            error(
                "LB739",
                f"the function {spelled} cannot be used",
                found=found,
                allowed="a metric: (outputs, labels) to one finite number a sample; "
                "a decoder: outputs to one array [n, ...] or n arrays [k, 6]",
                hint="run the function by itself on a batch first",
            )
        ]
    )
