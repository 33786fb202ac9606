"""Edit a graph: a pass collects its changes here, and gets a new graph in topological order."""

from __future__ import annotations

import dataclasses
import hashlib
import heapq
from typing import TYPE_CHECKING

import numpy as np
import onnx

from lowbitc.compiler.elements import PlainType
from lowbitc.compiler.ir import ops
from lowbitc.compiler.ir.graph import fresh_name, reads
from lowbitc.compiler.ir.types import TensorType
from lowbitc.compiler.manager import PassResult

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lowbitc.compiler.diagnostics import Diagnostic, Source
    from lowbitc.compiler.elements import Array
    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.compiler.ir.node import Node
    from lowbitc.compiler.ir.types import ValueType


def joined_sources(*nodes: Node) -> tuple[Source, ...]:
    """Return the sources of all nodes, each once, in order."""
    return tuple(dict.fromkeys(source for node in nodes for source in node.sources))


def on_cpu(node: Node, operator: str, **attributes: float) -> ops.HostOp:
    """Return an ONNX operator with a node's name, inputs, outputs and sources, for the CPU."""
    proto = onnx.helper.make_node(operator, node.inputs, node.outputs, name=node.name)
    proto.attribute.extend(onnx.helper.make_attribute(k, v) for k, v in attributes.items())
    return ops.HostOp(
        name=node.name,
        inputs=node.inputs,
        outputs=node.outputs,
        sources=node.sources,
        domain="",
        op_type=operator,
        proto=proto.SerializeToString(deterministic=True),
    )


class Edit:
    """Changes to one graph, which itself stays as it is.

    A name always means the same tensor: a rewrite that changes what a value holds gives it a new
    name. Names of the graph's outputs, and of values that subgraphs read, are ``pinned``.
    """

    def __init__(self, graph: Graph) -> None:
        """Start from ``graph``."""
        self.graph = graph
        self.constants = dict(graph.constants)
        self.types: dict[str, ValueType] = dict(graph.types)
        self.touched = False
        captured = {v for n in graph.nodes if isinstance(n, ops.HostOp) for v in n.captures}
        self.pinned = captured.union(graph.outputs)
        self._added: dict[tuple[str, str, tuple[int, ...], bytes], str] = {}
        self._nodes: dict[str, Node] = {}
        self._rank: dict[str, tuple[int, int]] = {}
        self._makers: dict[str, str] = {}
        self._readers: dict[str, dict[str, None]] = {}
        self._names: set[str] = {*graph.inputs, *graph.constants, *graph.types}
        for index, node in enumerate(graph.nodes):
            self._rank[node.name] = (index, 0)
            self._link(node)
        self._names.update(self._nodes)

    # --- reading -----------------------------------------------------------------------------

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The nodes as they are now, old places kept; new ones stand beside their anchors."""
        return tuple(sorted(self._nodes.values(), key=lambda n: self._rank[n.name]))

    def current(self, node: Node) -> Node | None:
        """Return what a node of that name is by now, None when it is gone."""
        return self._nodes.get(node.name)

    def maker(self, value: str) -> Node | None:
        """Return the node that makes a value."""
        return self._nodes.get(self._makers.get(value, ""))

    def readers(self, value: str) -> tuple[Node, ...]:
        """Return the nodes that read a value, each once."""
        found = [self._nodes[name] for name in self._readers.get(value, {})]
        return tuple(sorted(found, key=lambda n: self._rank[n.name]))

    def read_once(self, value: str) -> bool:
        """Whether exactly one operand of one node reads the value, and nobody outside."""
        uses = sum(list(reads(n)).count(value) for n in self.readers(value))
        return uses == 1 and value not in self.pinned

    def tensor(self, value: str) -> TensorType:
        """Return a value's type, of unknown rank where it has none."""
        found = self.types.get(value)
        return found if isinstance(found, TensorType) else TensorType(None, PlainType("undefined"))

    def shape(self, value: str) -> tuple[int, ...] | None:
        """Return a value's shape, None when its rank is not known."""
        return self.tensor(value).shape

    def constant(self, value: str) -> Array | None:
        """Return a constant's array, None for what is computed or absent."""
        return self.constants.get(value)

    # --- writing -----------------------------------------------------------------------------

    def add_constant(self, wanted: str, array: Array) -> str:
        """Add a constant under the wanted name or one derived from it; return the name.

        The same array wanted twice under one name is held once: unrolled networks share weights.
        """
        data = np.ascontiguousarray(array).tobytes()
        key = (wanted, array.dtype.str, array.shape, hashlib.blake2b(data).digest())
        if key in self._added:
            return self._added[key]
        name = self._added[key] = self.fresh(wanted)
        self.constants[name] = array
        self.types[name] = TensorType(array.shape, PlainType(array.dtype.name))
        return name

    def add_value(self, wanted: str, kind: ValueType) -> str:
        """Declare a new value of a type; return its name."""
        name = self.fresh(wanted)
        self.types[name] = kind
        return name

    def fresh(self, wanted: str) -> str:
        """Return a name that nothing has yet, for a value or a node."""
        name = fresh_name(wanted, self._names)
        self._names.add(name)
        return name

    def put(self, node: Node, beside: Node | None = None) -> None:
        """Put a node in place of the one of its name, or add it ``beside`` another."""
        old = self._nodes.get(node.name)
        if old is not None:
            self._unlink(old)
        else:
            index = self._rank[beside.name][0] if beside is not None else len(self._rank)
            self._rank[node.name] = (index, len(self._rank))
        self._link(node)
        self._names.add(node.name)
        self.touched = True

    def drop(self, node: Node) -> None:
        """Remove a node; its outputs must have other makers or no readers by the end."""
        self._unlink(self._nodes[node.name])
        del self._nodes[node.name]
        self.touched = True

    def bypass(self, node: Node, value: str) -> None:
        """Remove a node whose one output equals ``value``, which its readers then read.

        Where the output's name is pinned, ``value`` takes that name; where ``value`` is pinned
        too, or an input or a constant, a copy on the CPU makes the output.
        """
        output = node.outputs[0]
        if output not in self.pinned:
            self.drop(node)
            self._redirect(output, value)
        elif value in self.pinned or value in self.constants or self.maker(value) is None:
            self.put(on_cpu(dataclasses.replace(node, inputs=(value,)), "Identity"))
        else:
            self.drop(node)
            source = self.maker(value)
            if source is not None:
                names = tuple(output if v == value else v for v in source.outputs)
                self.put(dataclasses.replace(source, outputs=names))
            self._redirect(value, output)

    def done(self, diagnostics: Iterable[Diagnostic] = ()) -> PassResult:
        """Return the edited graph, in order and without what nothing needs."""
        found = tuple(diagnostics)
        if not self.touched:
            return PassResult(self.graph, changed=False, diagnostics=found)
        after = self.graph.replace(nodes=self._sorted(), constants=self.constants, types=self.types)
        return PassResult(after.pruned(), changed=True, diagnostics=found)

    # --- inside ------------------------------------------------------------------------------

    def _redirect(self, old: str, new: str) -> None:
        for node in self.readers(old):
            inputs = tuple(new if v == old else v for v in node.inputs)
            self.put(dataclasses.replace(node, inputs=inputs))

    def _link(self, node: Node) -> None:
        self._nodes[node.name] = node
        for value in node.outputs:
            if value:
                self._makers[value] = node.name
        for value in reads(node):
            self._readers.setdefault(value, {})[node.name] = None

    def _unlink(self, node: Node) -> None:
        for value in node.outputs:
            if self._makers.get(value) == node.name:
                del self._makers[value]
        for value in reads(node):
            self._readers[value].pop(node.name, None)

    def _sorted(self) -> tuple[Node, ...]:
        """Order topologically; of the nodes that are ready the first by place goes first."""
        waits = {
            name: {self._makers[v] for v in reads(node) if v in self._makers}
            for name, node in self._nodes.items()
        }
        blocks: dict[str, list[str]] = {}
        for name, makers in waits.items():
            for maker in makers:
                blocks.setdefault(maker, []).append(name)
        ready = [(self._rank[name], name) for name, makers in waits.items() if not makers]
        heapq.heapify(ready)
        order: list[Node] = []
        while ready:
            _, name = heapq.heappop(ready)
            order.append(self._nodes[name])
            for reader in blocks.get(name, []):
                waits[reader].discard(name)
                if not waits[reader]:
                    heapq.heappush(ready, (self._rank[reader], reader))
        return tuple(order)
