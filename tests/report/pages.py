"""Pages of the demo's network, and of made-up content that tries to break out."""

from __future__ import annotations

import dataclasses
import functools
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import lowbitc
from lowbitc.cli.report.content import (
    Content,
    Measured,
    VerdictView,
    gather,
    measured_views,
    metric_views,
)
from lowbitc.comparing import compare
from lowbitc.compiler.diagnostics import Source
from lowbitc.level_shapes import output_shapes, weight_shapes
from lowbitc.simulation import simulate

if TYPE_CHECKING:
    from lowbitc.targets.program import Program

DEMO = Path(str(resources.files("lowbitc").joinpath("demo")))
DATA = DEMO / "digits.test.npz"
HOSTILE = '<img src=x onerror="alert(1)">&"\'</script><script>alert(2)</script>'


@functools.cache
def program() -> Program:
    return lowbitc.compile(DEMO / "digits.onnx", calib=DEMO / "digits.calib.npz", bits="8/2/4")


@functools.cache
def simulated() -> Content:
    found = simulate(program(), DATA, limit=100, threads=1)
    measured = Measured(
        command="simulate",
        title="digits",
        metrics=metric_views(found),
        samples=found.samples,
        simulation=found,
        outputs=output_shapes(program(), DATA, samples=4, threads=1),
        weights=weight_shapes(program()),
    )
    return gather(program(), measured)


@functools.cache
def compared() -> Content:
    found = simulate(program(), DATA, limit=40, threads=1)
    comparison = compare(DEMO / "digits.onnx", program(), DATA, limit=40, left_out=4, threads=1)
    measured = Measured(
        command="compare",
        title="digits",
        verdict=VerdictView("good", "No layer loses more than its bits make it lose"),
        metrics=measured_views(comparison.metrics),
        samples=40,
        simulation=found,
        comparison=comparison,
    )
    return gather(program(), measured)


def hostile() -> Content:
    """Return content whose every text of a user's is markup."""
    whole = compared()
    layers = tuple(
        dataclasses.replace(x, name=HOSTILE, sources=(Source(HOSTILE, HOSTILE),))
        for x in whole.layers
    )
    verdict = VerdictView("bad", HOSTILE, (HOSTILE,))
    metrics = tuple(dataclasses.replace(m, name=HOSTILE) for m in whole.metrics)
    return dataclasses.replace(
        whole, title=HOSTILE, command=HOSTILE, layers=layers, verdict=verdict, metrics=metrics
    )
