"""Find constants with NaN or infinite elements."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from lowbitc.compiler.diagnostics import Diagnostic, error

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from lowbitc.compiler.elements import Array
    from lowbitc.compiler.frontend.external import ExternalFiles
    from lowbitc.compiler.frontend.structure import Step

_Floats = npt.NDArray[np.floating[Any]]
_CHUNK_BYTES = 4 << 20
_WEIGHTED = frozenset(
    {
        *("Conv", "ConvTranspose", "Gemm", "MatMul", "LSTM", "GRU", "RNN"),
        *("BatchNormalization", "InstanceNormalization", "LayerNormalization", "PRelu"),
    }
)
"""Operators whose constants are trained. Elsewhere an infinity may be meant: masks hold it."""


def screen(
    constants: Mapping[str, Array], files: ExternalFiles, steps: Sequence[Step]
) -> Iterator[Diagnostic]:
    """Yield every float constant that holds NaN, and every weight that holds infinity.

    Mapped files are read in chunks, not through the map, so that memory does not grow with them.
    """
    weights = {v for step in steps if step.proto.op_type in _WEIGHTED for v in step.proto.input}
    for name, elements in constants.items():
        if not np.issubdtype(elements.dtype, np.floating):
            continue
        bad, first = 0, -1
        for start, held in _chunks(name, elements, files):
            chunk = cast("_Floats", held)
            if np.isfinite(_total(chunk)).all():
                continue
            wrong = np.flatnonzero(~np.isfinite(chunk) if name in weights else np.isnan(chunk))
            if wrong.size and first < 0:
                first = start + int(wrong[0])
            bad += int(wrong.size)
        if bad:
            yield _report(name, elements, (bad, first), steps)


def _total(chunk: _Floats) -> _Floats:
    """Add up a chunk: finite for finite elements, bar an overflow, which is looked into."""
    with np.errstate(all="ignore"):
        return np.asarray(np.add.reduce(chunk))


def _chunks(name: str, elements: Array, files: ExternalFiles) -> Iterator[tuple[int, Array]]:
    place = files.ranges.get(name)
    if place is None:
        yield 0, elements.reshape(-1)
        return
    size = elements.dtype.itemsize
    step = _CHUNK_BYTES // size
    with place.path.open("rb") as file:
        file.seek(place.offset_bytes)
        for start in range(0, elements.size, step):
            count = min(step, elements.size - start)
            yield start, np.frombuffer(file.read(count * size), elements.dtype)


def _report(name: str, elements: Array, bad: tuple[int, int], steps: Sequence[Step]) -> Diagnostic:
    count, first = bad
    index = [int(i) for i in np.unravel_index(first, elements.shape)]
    return error(
        "LB110",
        f"{name} holds NaN or infinity in {count:,} of {elements.size:,} elements",
        sources=[step.source for step in steps if name in step.reads()],
        found=f"the first at {index}",
        allowed="finite numbers",
        hint="the training diverged or the file is damaged; take an earlier checkpoint",
    )
