"""Compile float ONNX models for a low-bit neuromorphic chip, and simulate it bit for bit.

For example::

    import lowbitc

    program = lowbitc.compile("model.onnx", calib="samples.npz", bits="8/4/4")
    program.save("model.lbc")
    result = lowbitc.simulate("model.lbc", "test.npz")
    simulator = lowbitc.Simulator(lowbitc.load("model.lbc"), engine="fast", threads=2)
    outputs = simulator.run({"x": images})
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final

from lowbitc._version import VERSION

if TYPE_CHECKING:
    from lowbitc.checking import Check, check
    from lowbitc.comparing import Comparison, compare
    from lowbitc.compilation import compile, compile_with  # noqa: A004 - the field's verb
    from lowbitc.compiler.diagnostics import CompileError, Diagnostic
    from lowbitc.gating import Verdict, gate
    from lowbitc.learning import Learned, learn
    from lowbitc.searching import search
    from lowbitc.simulation import Simulation, load, simulate
    from lowbitc.sweeping import sweep
    from lowbitc.targets.engines.simulator import Simulator
    from lowbitc.targets.program.program import Program
    from lowbitc.tuning import Training, Tuned, tune

__version__: Final = VERSION

__all__ = [
    "Check",
    "Comparison",
    "CompileError",
    "Diagnostic",
    "Learned",
    "Program",
    "Simulation",
    "Simulator",
    "Training",
    "Tuned",
    "Verdict",
    "__version__",
    "check",
    "compare",
    "compile",
    "compile_with",
    "gate",
    "learn",
    "load",
    "search",
    "simulate",
    "sweep",
    "tune",
]

_HOMES = {
    "Check": "lowbitc.checking",
    "Comparison": "lowbitc.comparing",
    "CompileError": "lowbitc.compiler.diagnostics",
    "Diagnostic": "lowbitc.compiler.diagnostics",
    "Learned": "lowbitc.learning",
    "Program": "lowbitc.targets.program.program",
    "Simulation": "lowbitc.simulation",
    "Simulator": "lowbitc.targets.engines.simulator",
    "Training": "lowbitc.tuning",
    "Tuned": "lowbitc.tuning",
    "Verdict": "lowbitc.gating",
    "check": "lowbitc.checking",
    "compare": "lowbitc.comparing",
    "compile": "lowbitc.compilation",
    "compile_with": "lowbitc.compilation",
    "gate": "lowbitc.gating",
    "learn": "lowbitc.learning",
    "load": "lowbitc.simulation",
    "search": "lowbitc.searching",
    "simulate": "lowbitc.simulation",
    "sweep": "lowbitc.sweeping",
    "tune": "lowbitc.tuning",
}
"""Loaded when first used: importing onnx and onnxruntime takes longer than printing help."""


def __getattr__(name: str) -> object:
    """Load a public name from its module."""
    if name not in _HOMES:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(importlib.import_module(_HOMES[name]), name)
