"""What the writers of operators share: names, new constants, emitted nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from onnx import NodeProto, SparseTensorProto, TensorProto, helper, numpy_helper

from lowbitc.compiler.onnx_types import numpy_dtype

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lowbitc.compiler.elements import Array
    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.compiler.ir.node import Node

    Attribute = int | float | str | Sequence[int] | Sequence[float]


def tensor_proto(name: str, array: Array) -> TensorProto:
    """Return a constant as ONNX has it."""
    return numpy_helper.from_array(np.asarray(array, order="C"), name)


def sparse_proto(name: str, array: Array) -> SparseTensorProto | None:
    """Return a constant by its elements that are not zero, None where that is no smaller.

    ONNX Runtime makes it dense when it loads the model.
    """
    flat = np.asarray(array, order="C").reshape(-1)
    places = np.flatnonzero(flat).astype(np.int64)
    if array.dtype != np.float32 or 2 * places.size * (flat.itemsize + 8) > flat.nbytes:
        return None
    return SparseTensorProto(
        dims=array.shape,
        values=numpy_helper.from_array(flat[places], name),
        indices=numpy_helper.from_array(places, f"{name}.places"),
    )


class Writer:
    """Collects the ONNX nodes and constants that stand for the nodes of a graph.

    New names extend those of the graph, so that two runs give the same ones.
    """

    def __init__(self, graph: Graph, opset: int, arrays: dict[str, Array]) -> None:
        """Begin with nothing written; ``arrays`` are the constants, levels dequantized."""
        self.graph = graph
        self.opset = opset
        self.arrays = arrays
        self.nodes: list[NodeProto] = []
        self.made: dict[str, Array] = {}
        self._taken = set(graph.types) | set(graph.constants) | set(graph.inputs)
        for node in graph.nodes:
            # ONNX Runtime wants names of nodes to differ, and steps are named by their values.
            self._taken.update((node.name, *node.outputs))
        self._counts: dict[str, int] = {}

    def fresh(self, wanted: str) -> str:
        """Return a value name that nothing else has."""
        name = wanted
        while name in self._taken:
            self._counts[wanted] = self._counts.get(wanted, 0) + 1
            name = f"{wanted}.{self._counts[wanted]}"
        self._taken.add(name)
        return name

    def constant(self, name: str, array: Array) -> str:
        """Add a constant and return its name."""
        name = self.fresh(name)
        self.made[name] = array
        return name

    def integers(self, node: Node, role: str, values: Sequence[int]) -> str:
        """Add an int64 vector that a node takes as an input."""
        return self.constant(f"{node.name}/{role}", np.asarray(values, np.int64))

    def scalar(self, node: Node, role: str, value: float) -> str:
        """Add a scalar of the element type of the node's first input."""
        return self.constant(f"{node.name}/{role}", np.asarray(value, self.dtype(node.inputs[0])))

    def dtype(self, value: str) -> np.dtype[np.generic]:
        """Return how numpy stores a value."""
        return numpy_dtype(self.graph.tensor(value).element)

    def emit(
        self,
        node: Node,
        op_type: str,
        inputs: Sequence[str],
        outputs: Sequence[str] = (),
        /,
        **attributes: Attribute,
    ) -> None:
        """Write one ONNX node for ``node``, with its outputs unless others are given."""
        proto = NodeProto(
            op_type=op_type,
            input=inputs,
            output=outputs or node.outputs,
            name=outputs[0] if outputs else node.name,
        )
        for name, value in sorted(attributes.items()):
            proto.attribute.append(helper.make_attribute(name, value))
        self.nodes.append(proto)

    def step(
        self, node: Node, op_type: str, inputs: Sequence[str], /, **attributes: Attribute
    ) -> str:
        """Write an ONNX node that makes an intermediate value, and return that value."""
        value = self.fresh(f"{node.name}/{op_type}")
        self.emit(node, op_type, inputs, (value,), **attributes)
        return value

    def emit_reshape(self, node: Node, value: str, shape: Sequence[int]) -> None:
        """Write the output of ``node`` as a Reshape of ``value``."""
        self.emit(node, "Reshape", (value, self.integers(node, "shape", shape)))

    def rows_shape(self, value: str) -> tuple[int, ...] | None:
        """Return a shape for Reshape that gives ``value`` whatever the number of samples.

        None when the static shape does not say it, as for a scalar.
        """
        held = self.graph.tensor(value)
        if not held.known or not held.dims or 0 in held.dims:
            return None
        return (-1, *held.dims[1:])
