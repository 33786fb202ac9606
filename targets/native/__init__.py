"""Native integer kernels: whole networks of levels, exact and faster than float32.

A ``PlanBuilder`` takes layers in the chip's arithmetic and builds a ``Plan``, which runs batches in
a C extension::

    builder = PlanBuilder()
    x = builder.input((3, 32, 32))
    y = builder.conv(x, weights, stage, Window((3, 3), pads=(1, 1, 1, 1)))
    builder.output(y)
    plan = builder.build()
    (levels,) = plan.run([images], threads=2)

Accumulators are exact for any weights and levels. What is chosen for speed (8-bit products, int16
sums, Winograd's algorithm, float32 output stages) is chosen only where it is proved to give the
same integers: ``plan.proofs`` says for each layer what runs and why.

The extension is optional: ``available()`` tells whether it was built.
"""

from __future__ import annotations

import importlib.util

from lowbitc.targets.native.additions import AddStage
from lowbitc.targets.native.stages import Raw, Requantize, Stage, Table, Thresholds
from lowbitc.targets.native.window import Window

__all__ = [
    "AddStage",
    "Raw",
    "Requantize",
    "Stage",
    "Table",
    "Thresholds",
    "Window",
    "available",
    "cpu_paths",
]


def available() -> bool:
    """Tell whether the extension was built for this interpreter."""
    return importlib.util.find_spec("lowbitc.targets.native._kernels") is not None


def cpu_paths() -> tuple[str, ...]:
    """Return this CPU's instruction-set paths, the fastest first; none where not built."""
    if not available():
        return ()
    from lowbitc.targets.native import _kernels  # noqa: PLC0415 - the extension is optional

    return _kernels.paths()
