"""A value for several samples: joined along axis 0 for the chip, or one by one for the CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lowbitc.compiler.diagnostics import CompileError, Diagnostic, error
from lowbitc.compiler.onnx_session import Value

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lowbitc.compiler.elements import Array


class Samples:
    """A value of n samples; kept as it came, converted when the other form is asked for.

    Joined, a value of shape [B, …] is an array [n · B, …], and a scalar a vector [n].
    """

    __slots__ = ("_joined", "_parts", "_scalar", "count", "name")

    def __init__(
        self,
        name: str,
        count: int,
        *,
        joined: Array | None = None,
        parts: Sequence[Value] = (),
        scalar: bool = False,
    ) -> None:
        """Hold either form; ``scalar`` says that one sample has no dimension."""
        self.name = name
        self.count = count
        self._joined = joined
        self._parts: list[Value] = list(parts)
        self._scalar = scalar

    def parts(self) -> list[Value]:
        """Return one value a sample, each in the model's own shape."""
        array = self._joined
        if not self._parts and array is not None:
            if self._scalar:
                self._parts = list[Value](array[i : i + 1].reshape(()) for i in range(self.count))
            else:
                rows = len(array) // self.count
                cuts = (slice(i * rows, (i + 1) * rows) for i in range(self.count))
                self._parts = list[Value](array[cut] for cut in cuts)
        return self._parts

    def joined(self) -> Array:
        """Return all samples along axis 0.

        Raises CompileError LB743 where they have other shapes, or are no tensors.
        """
        if self._joined is None:
            self._joined = np.concatenate([np.atleast_1d(part) for part in self._tensors()])
        return self._joined

    def stacked(self) -> Array:
        """Return samples along a new axis 0, in place of a first dimension of 1 if there is one.

        Raises CompileError LB743 where they have other shapes, or are no tensors.
        """
        parts = self._tensors()
        if parts[0].ndim and parts[0].shape[0] == 1:
            return self.joined()
        return np.stack(parts)

    def _tensors(self) -> list[Array]:
        tensors = [np.asarray(part) for part in self.parts() if isinstance(part, np.ndarray)]
        shapes = sorted({tensor.shape for tensor in tensors})
        if len(tensors) != len(self.parts()) or len(shapes) != 1:
            raise CompileError([uneven(self.name, shapes)])
        return tensors


def uneven(name: str, shapes: Sequence[tuple[int, ...]]) -> Diagnostic:
    """Make the finding that samples have other shapes, or are no tensors."""
    return error(
        "LB743",
        f"the samples of {name} cannot be joined in one array",
        found=", ".join(str(list(shape)) for shape in shapes[:4]) or "no tensor",
        allowed="tensors of one shape",
        hint="run the samples one at a time",
    )
