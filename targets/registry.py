"""The targets by name."""

from __future__ import annotations

import functools

from lowbitc.compiler.diagnostics import CompileError, error
from lowbitc.targets.lb1 import rules as lb1_rules
from lowbitc.targets.spec import Target, read_target

TARGETS: tuple[str, ...] = ("lb1",)


@functools.cache
def load_target(name: str) -> Target:
    """Return a target.

    Raises CompileError LB299 for a name that is no target.
    """
    if name == "lb1":
        return read_target("lowbitc.targets.lb1", lb1_rules.OPERATORS, lb1_rules.RULES)
    raise CompileError(
        [
            error(
                "LB299",
                f"there is no target {name!r}",
                found=name,
                allowed=", ".join(TARGETS),
                hint="see `lowbitc targets`",
            )
        ]
    )
