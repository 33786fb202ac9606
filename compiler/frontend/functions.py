"""Put the nodes of local functions in place of their calls.

Done here and not by onnx.inliner, which takes the whole model as bytes, drops the names of nodes,
and leaves functions alone whose opset differs even where every operator means the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from onnx import NodeProto

from lowbitc.compiler.diagnostics import Diagnostic, Source, error
from lowbitc.compiler.frontend.schema import plain_domain, schema_of
from lowbitc.compiler.frontend.splice import copy_node
from lowbitc.compiler.frontend.structure import name_nodes
from lowbitc.compiler.ir.graph import fresh_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onnx import FunctionProto, ModelProto

_Key = tuple[str, str, str]


def _found() -> list[Diagnostic]:
    return []


@dataclass(frozen=True, slots=True)
class Inliner:
    """Functions of a model by domain, name and overload; opsets, which functions may add to."""

    functions: dict[_Key, FunctionProto]
    versions: dict[str, int]
    taken: set[str]
    found: list[Diagnostic] = field(default_factory=_found)

    def inline(self, nodes: Sequence[NodeProto], inside: tuple[_Key, ...] = ()) -> list[NodeProto]:
        """Return the nodes with calls replaced, to any depth."""
        flat: list[NodeProto] = []
        for node in nodes:
            key = _key(node)
            function = self.functions.get(key)
            if function is None:
                flat.append(node)
            elif key in inside:
                self._refuse(node, f"{node.op_type} calls itself")
            elif other := self._other_meaning(function):
                self._refuse(node, other)
            else:
                flat += self.inline(self._body(node, function), (*inside, key))
        return flat

    def _body(self, call: NodeProto, function: FunctionProto) -> list[NodeProto]:
        """Copy a function's nodes; values inside are called CALL/NAME, so are nodes."""
        names: dict[str, str] = dict(zip(function.input, call.input, strict=False))
        names.update(dict.fromkeys(function.input[len(call.input) :], ""))
        copies: list[NodeProto] = []
        for formal, actual in zip(function.output, call.output, strict=False):
            if formal in names:  # an input passed on, or one value given out twice
                copies.append(_identity(call.name, names[formal], actual))
            elif actual:
                names[formal] = actual

        def rename(value: str) -> str:
            if value not in names:
                wanted = f"{call.name}/{value}"
                names[value] = fresh_name(wanted, self.taken) if wanted in self.taken else wanted
                self.taken.add(names[value])
            return names[value]

        given = {held.name: held for held in function.attribute_proto}
        given.update({held.name: held for held in call.attribute})
        body: list[NodeProto] = []
        for place, node in enumerate(function.node):
            copy = copy_node(node, rename, given)
            copy.name = f"{call.name}/{node.name or f'{node.op_type}_{place}'}"
            body.append(copy)
        return body + copies

    def _other_meaning(self, function: FunctionProto) -> str:
        """Say which operator of a function means something else at the model's opset."""
        for one in function.opset_import:
            self.versions.setdefault(plain_domain(one.domain), one.version)
        own = {plain_domain(one.domain): one.version for one in function.opset_import}
        for node in function.node:
            domain = plain_domain(node.domain)
            written, read = own.get(domain), self.versions.get(domain)
            if written is None or read is None or written == read:
                continue
            before = schema_of(node.op_type, domain, written)
            after = schema_of(node.op_type, domain, read)
            if before is not None and (after is None or before.since != after.since):
                return (
                    f"{node.op_type} in {function.name} is of opset {written}, and the model "
                    f"imports opset {read}, where it means something else"
                )
        return ""

    def _refuse(self, call: NodeProto, reason: str) -> None:
        self.found.append(
            error(
                "LB125",
                f"{call.name}: the function {call.op_type} cannot be inlined: {reason}",
                sources=[Source(call.name, call.op_type)],
                hint="export the model with its functions inlined",
            )
        )


def inline_functions(
    model: ModelProto, versions: dict[str, int]
) -> tuple[list[NodeProto], list[Diagnostic]]:
    """Return the nodes of a model without calls; ``versions`` gains the domains of functions."""
    nodes = list(model.graph.node)
    if not model.functions:
        return nodes, []
    functions = {_key_of(function): function for function in model.functions}
    graph = model.graph
    taken = {value for node in nodes for value in (*node.input, *node.output)}
    taken |= {held.name for held in (*graph.input, *graph.initializer)}
    inliner = Inliner(functions, versions, taken)
    named: list[NodeProto] = []
    for step in name_nodes(nodes):
        copy = copy_node(step.proto, lambda value: value, {})
        copy.name = step.name
        named.append(copy)
    return inliner.inline(named), inliner.found


def _key(node: NodeProto) -> _Key:
    return plain_domain(node.domain), node.op_type, node.overload


def _key_of(function: FunctionProto) -> _Key:
    return plain_domain(function.domain), function.name, function.overload


def _identity(name: str, value: str, made: str) -> NodeProto:
    return NodeProto(op_type="Identity", name=f"{name}/{made}", input=[value], output=[made])
