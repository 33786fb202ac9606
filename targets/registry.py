"""The targets by name: every sub-package of ``targets`` that holds a TOML file of its own name."""

from __future__ import annotations

import functools
import importlib
from importlib import resources
from typing import TYPE_CHECKING, Protocol, cast

from lowbitc.compiler.diagnostics import CompileError, error
from lowbitc.targets.spec import Target, read_target

if TYPE_CHECKING:
    from lowbitc.targets.spec import Rule

_PACKAGE = "lowbitc.targets"
_FIRST = "lb1"


class _Rules(Protocol):
    """A target's rules.py."""

    OPERATORS: frozenset[str]
    RULES: tuple[Rule, ...]


def _names() -> tuple[str, ...]:
    folders = [f for f in resources.files(_PACKAGE).iterdir() if f.is_dir()]
    found = [f.name for f in folders if f.joinpath(f"{f.name}.toml").is_file()]
    return tuple(sorted(found, key=lambda name: (name != _FIRST, name)))


TARGETS: tuple[str, ...] = _names()


@functools.cache
def load_target(name: str) -> Target:
    """Return a target.

    Raises CompileError LB299 for a name that is no target.
    """
    if name in TARGETS:
        package = f"{_PACKAGE}.{name}"
        rules = cast("_Rules", importlib.import_module(f"{package}.rules"))
        return read_target(package, rules.OPERATORS, rules.RULES)
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
