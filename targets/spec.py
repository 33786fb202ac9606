"""What a target is: figures from a TOML file, and rules that say what the chip can run."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any, cast

from lowbitc.compiler.bits import Bits
from lowbitc.compiler.diagnostics import Diagnostic, error
from lowbitc.compiler.ir.first_layers import first_layers
from lowbitc.targets.placement.mesh import Memory, Mesh

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
    docs. ``hint`` says what the user can do. A rule that ``depends`` looks at which other nodes
    are on the CPU (``Graph.host_reasons``), and is asked again when more of them are. With
    ``weight_bits``, the rule is about layers for which ``check`` returns something, and is broken
    where other weights are asked for. ``source`` is where the limit is published.
    """

    code: str
    text: str
    hint: str
    ops: tuple[str, ...]
    check: Check
    depends: bool = False
    weight_bits: tuple[int, ...] = ()
    source: str = ""


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
    ``unclipped_bits`` are those of levels that come from the CPU or from a mean without a clip;
    below 8, the rules see to it that such values are never negative.
    """

    name: str
    revision: str
    title: str
    mesh: Mesh
    default_bits: str
    first_weight_bits: tuple[int, ...]
    weight_bits: tuple[int, ...]
    activation_bits: tuple[int, ...]
    signed_activation_bits: tuple[int, ...]
    unclipped_bits: int
    figures: Mapping[str, Figure]
    operators: frozenset[str]
    rules: tuple[Rule, ...]

    @property
    def widest(self) -> Bits:
        """The most bits that it holds."""
        first, weights = max(self.first_weight_bits), max(self.weight_bits)
        return Bits(first, weights, max(self.activation_bits), unclipped=self.unclipped_bits)

    def findings(self, graph: Graph, bits: Bits | None = None) -> dict[str, tuple[Diagnostic, ...]]:
        """Return all that keeps each node of a folded graph off the chip, by node name.

        A node without an entry runs on it. Nodes in ``graph.host_reasons`` count as being on the
        CPU; ``bits`` are the widths that were asked for.
        """
        return device_findings(graph, self, bits)

    def unheld(self, bits: Bits) -> Iterator[Diagnostic]:
        """Yield an error for every width that was asked for and that the chip does not hold."""
        asked = [
            ("the first layer's weights", bits.first, self.first_weight_bits),
            ("weights", bits.weights, self.weight_bits),
            ("activations", bits.activations, self.activation_bits),
        ]
        either = tuple(sorted({*self.weight_bits, *self.first_weight_bits}))
        for layer in bits.layers:
            asked.append((f"weights of {layer.match}", layer.weights or either[0], either))
            width = layer.activations or self.activation_bits[0]
            asked.append((f"activations of {layer.match}", width, self.activation_bits))
        for what, width, allowed in asked:
            if width not in allowed:
                yield error(
                    "LB285",
                    f"{self.name} does not hold {what} of {width} bits",
                    found=f"{width} bits",
                    allowed=", ".join(map(str, allowed)),
                    hint=f"for example --bits {self.default_bits}",
                )

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


def device_findings(
    graph: Graph, target: Target, bits: Bits | None = None
) -> dict[str, tuple[Diagnostic, ...]]:
    """Return every broken rule of every node, by node name; nodes that keep all are left out."""
    found: dict[str, tuple[Diagnostic, ...]] = {}
    first = first_layers(graph)
    widths = (
        {node.name: bits.weight_bits(node, first=node.name in first) for node in graph.nodes}
        if bits is not None
        else {}
    )
    for node in graph.nodes:
        broken = tuple(_broken(graph, node, target, widths))
        if broken:
            found[node.name] = broken
    if not any(rule.depends for rule in target.rules):
        return found
    kept = {node.name for node in graph.nodes} - set(found)
    while True:
        reasons = {**graph.host_reasons, **dict.fromkeys(found, "")}
        now = graph.replace(host_reasons=reasons)
        for node in graph.nodes:
            again = tuple(_broken(now, node, target, widths)) if node.name in kept else ()
            if again:
                found[node.name] = again
        if kept.isdisjoint(found):
            return found
        kept -= set(found)


def _broken(
    graph: Graph, node: Node, target: Target, widths: Mapping[str, int]
) -> list[Diagnostic]:
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
            if shown and rule.weight_bits:
                width = widths.get(node.name, rule.weight_bits[0])
                shown = "" if width in rule.weight_bits else f"{width} bits"
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
    levels = table["levels"]
    return Target(
        name=table["name"],
        revision=table["revision"],
        title=table["title"],
        mesh=_mesh(table["mesh"], Memory(**table["memory"])),
        figures={key: Figure(**figure) for key, figure in sorted(table["figures"].items())},
        operators=operators,
        rules=rules,
        default_bits=levels["default_bits"],
        first_weight_bits=tuple(levels["first_weight_bits"]),
        weight_bits=tuple(levels["weight_bits"]),
        activation_bits=tuple(levels["activation_bits"]),
        signed_activation_bits=tuple(levels["signed_activation_bits"]),
        unclipped_bits=levels["unclipped_bits"],
    )


def _mesh(table: Mapping[str, Any], memory: Memory) -> Mesh:
    held = dict(table)
    for key in ("reserved", "input_unit"):
        if key in held:
            held[key] = tuple((int(x), int(y)) for x, y in held[key])
    return Mesh(**held, memory=memory)
