"""What a target is: figures from a TOML file, and rules that say what the chip can run."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any, cast

from lowbitc.compiler.diagnostics import Diagnostic, error
from lowbitc.targets.placement.place import Mesh
from lowbitc.targets.placement.split import Memory

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.compiler.ir.node import Node

Check = Callable[["Graph", "Node"], str]
"""Returns what was found that breaks a rule, or "" where the node keeps it."""

ANY = "*"
"""As an operator: a rule for every operator that a target runs."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A limit of a target on one or more operators of the float graph.

    ``text`` says what is allowed: it is the message, the row of ``lowbitc check`` and of the
    docs. ``hint`` says what the user can do.
    """

    code: str
    text: str
    hint: str
    ops: tuple[str, ...]
    check: Check


@dataclass(frozen=True, slots=True)
class Figure:
    """A constant of the cost model: its SI value, and where it comes from.

    ``basis`` is "published", "calibrated" (fitted to published rows) or "assumed".
    """

    value: float
    unit: str
    basis: str
    source: str


@dataclass(frozen=True, slots=True)
class Target:
    """A chip: its mesh, its memories, its level widths, its figures, and its rules.

    ``operators`` are the float operators that it runs, where no rule is broken.
    """

    name: str
    revision: str
    title: str
    mesh: Mesh
    weight_bits: tuple[int, ...]
    activation_bits: tuple[int, ...]
    signed_activation_bits: tuple[int, ...]
    figures: Mapping[str, Figure]
    operators: frozenset[str]
    rules: tuple[Rule, ...]

    def findings(self, graph: Graph) -> dict[str, tuple[Diagnostic, ...]]:
        """Return all that keeps each node of a folded graph off the chip, by node name.

        A node without an entry runs on it.
        """
        return device_findings(graph, self)

    def figure(self, name: str) -> float:
        """Return the value of a figure."""
        return self.figures[name].value

    def saved_seconds(self, macs: int, params: int, crossing_bytes: int) -> float:
        """Estimate what the CPU saves when the chip does some work, its launch not counted.

        The chip takes as few NPs as hold the parameters, in bytes, and all of the operations.
        """
        processors = max(1, -(-params // self.mesh.memory.weight_bytes))
        cycles = macs / (self.figure("synaptic_ops_per_cycle") * processors)
        cycles += crossing_bytes / self.figure("external_bytes_per_cycle")
        return macs / self.figure("host_macs") - cycles / self.figure("clock")


def device_findings(graph: Graph, target: Target) -> dict[str, tuple[Diagnostic, ...]]:
    """Return every broken rule of every node, by node name; nodes that keep all are left out."""
    found: dict[str, tuple[Diagnostic, ...]] = {}
    for node in graph.nodes:
        broken = tuple(_broken(graph, node, target))
        if broken:
            found[node.name] = broken
    return found


def _broken(graph: Graph, node: Node, target: Target) -> list[Diagnostic]:
    kind = operator_name(node)
    if node.op not in target.operators:
        allowed = ", ".join(sorted(target.operators))
        return [
            error(
                "LB200",
                f"{target.name} does not run {kind}",
                sources=node.sources,
                found=kind,
                allowed=allowed,
                hint="it runs on the CPU; nothing is to be done unless it splits the network",
            )
        ]
    broken: list[Diagnostic] = []
    for rule in target.rules:
        if node.op in rule.ops or ANY in rule.ops:
            shown = rule.check(graph, node)
            if shown:
                broken.append(
                    error(rule.code, rule.text, sources=node.sources, found=shown, hint=rule.hint)
                )
    return broken


def operator_name(node: Node) -> str:
    """Return the operator's name as the user knows it."""
    return str(getattr(node, "op_type", node.op))


def read_target(package: str, operators: frozenset[str], rules: tuple[Rule, ...]) -> Target:
    """Return the target whose TOML file lies in the package of its name."""
    name = package.rpartition(".")[2]
    text = resources.files(package).joinpath(f"{name}.toml").read_text(encoding="utf-8")
    table = cast("Mapping[str, Any]", tomllib.loads(text))
    memory = Memory(**table["memory"])
    levels = {key: tuple(int(b) for b in bits) for key, bits in table["levels"].items()}
    return Target(
        name=table["name"],
        revision=table["revision"],
        title=table["title"],
        mesh=Mesh(table["mesh"]["width"], table["mesh"]["height"], memory),
        figures={key: Figure(**figure) for key, figure in sorted(table["figures"].items())},
        operators=operators,
        rules=rules,
        **levels,
    )
