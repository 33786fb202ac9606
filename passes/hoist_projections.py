"""Hoist the input projections of recurrent layers: W·x needs no recurrence, so the chip can run it.

A layer of hidden size H over T steps multiplies each x_t by W and each h_t by R. The products with
W are one Dense over all steps; what is left is the same ONNX operator, which reads the projections
through an identity in place of W. So directions, initial states, sequence lengths, peepholes,
clips and activations stay what ONNX says they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import onnx

from lowbitc.compiler.elements import F32
from lowbitc.compiler.ir import ops
from lowbitc.compiler.ir.types import TensorType
from lowbitc.compiler.work import identity, is_identity, is_recurrent
from lowbitc.passes.edit import Edit

if TYPE_CHECKING:
    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.compiler.ir.node import Node
    from lowbitc.compiler.manager import PassResult

_BIAS = 3
_STEPS = 3
"""Dimensions of the input: steps, batch and features, the first two in either order."""
_LISTS = ("activations", "activation_alpha", "activation_beta")


@dataclass(frozen=True, slots=True)
class HoistProjections:
    """Take W·x + Wb of LSTM, GRU and RNN out to a Dense over all steps.

    Layers whose weights are computed, or already the identity, stay whole. The directions of a
    bidirectional layer become two layers, whose identities are smaller than one for both, unless
    its activations have parameters, which ONNX counts over both directions.
    """

    name: ClassVar[str] = "hoist-projections"

    def run(self, graph: Graph, /) -> PassResult:
        """Return the graph with a Dense before each recurrent layer."""
        edit = Edit(graph)
        for node in graph.nodes:
            if is_recurrent(node) and _can_hoist(edit, node):
                _Hoist(edit, node).run()
        return edit.done()


def _can_hoist(edit: Edit, node: Node) -> bool:
    x = edit.tensor(node.inputs[0])
    constants = [edit.constant(v) for v in node.inputs[1 : _BIAS + 1] if v]
    return (
        x.known
        and len(x.dims) == _STEPS
        and x.element == F32
        and node.inputs[0] not in edit.constants
        and all(a is not None and a.dtype == np.float32 for a in constants)
        and not is_identity(edit.constant(node.inputs[1]))
    )


class _Hoist:
    """One layer on its way to projections and cells."""

    def __init__(self, edit: Edit, node: Node) -> None:
        self.edit = edit
        self.node = node
        self.proto = onnx.NodeProto.FromString(getattr(node, "proto", b""))
        self.x, self.w = node.inputs[:2]
        self.bias = edit.constant(node.inputs[_BIAS]) if len(node.inputs) > _BIAS else None
        self.weights = edit.constants[self.w]
        self.directions, self.size = self.weights.shape[:2]

    def run(self) -> None:
        projected = self._dense()
        named = {a.name for a in self.proto.attribute}
        together = self.directions == 1 or bool(named.intersection(_LISTS[1:]))
        if together:
            self._put(self.node.name, projected, self._own_inputs(None), self.node.outputs, None)
        else:
            self._split(projected)

    def _dense(self) -> str:
        edit, node = self.edit, self.node
        steps = edit.tensor(self.x).dims[:2]
        width = self.directions * self.size
        projected = edit.add_value(f"{node.name}.projected", TensorType((*steps, width), F32))
        inputs = [self.x, edit.add_constant(f"{self.w}.rows", self.weights.reshape(width, -1))]
        if self.bias is not None:
            rows = self.bias[:, : self.size].reshape(width)
            inputs.append(edit.add_constant(f"{node.inputs[_BIAS]}.input", rows))
        edit.put(
            ops.Dense(
                name=edit.fresh(f"{node.name}.projection"),
                inputs=tuple(inputs),
                outputs=(projected,),
                sources=node.sources,
            ),
            beside=node,
        )
        return projected

    def _own_inputs(self, part: int | None) -> list[str]:
        """Return W, R, B, lengths, states and peepholes of one direction, or of all."""
        edit, node = self.edit, self.node
        cut = slice(None) if part is None else slice(part, part + 1)
        inputs = [
            edit.add_constant(
                f"{self.w}.identity", identity(self.directions if part is None else 1, self.size)
            )
        ]
        for place, value in enumerate(node.inputs[2:], 2):
            if place == _BIAS and self.bias is not None:
                left = self.bias[cut].copy()
                left[:, : self.size] = 0
                inputs.append(edit.add_constant(f"{value}.recurrent", left))
            elif part is None or not value or place == _BIAS + 1:
                inputs.append(value)
            else:
                inputs.append(self._part(value, part, place))
        return inputs

    def _part(self, value: str, part: int, place: int) -> str:
        """Return one direction of weights, peepholes, or an initial state."""
        edit = self.edit
        held = edit.constant(value)
        states = place in {_BIAS + 2, _BIAS + 3}
        axis = 1 if states and self._batch_first else 0
        if held is not None:
            return edit.add_constant(f"{value}.{part}", np.take(held, [part], axis))
        return self._slice(value, axis, part, part + 1, f"{value}.{part}")

    @property
    def _batch_first(self) -> bool:
        return any(a.name == "layout" and a.i for a in self.proto.attribute)

    def _slice(self, value: str, axis: int, start: int, end: int, wanted: str) -> str:
        edit = self.edit
        dims = list(edit.tensor(value).dims)
        dims[axis] = end - start
        output = edit.add_value(wanted, TensorType(tuple(dims), F32))
        edit.put(
            ops.Slice(
                name=edit.fresh(f"{output}.slice"),
                inputs=(value,),
                outputs=(output,),
                sources=self.node.sources,
                starts=(start,),
                ends=(end,),
                axes=(axis,),
                steps=(1,),
            ),
            beside=self.node,
        )
        return output

    def _put(
        self, name: str, x: str, inputs: list[str], outputs: tuple[str, ...], part: int | None
    ) -> None:
        proto = onnx.NodeProto()
        proto.CopyFrom(self.proto)
        proto.name = name
        if part is not None:
            kept = [a for a in proto.attribute if a.name != "direction"]
            del proto.attribute[:]
            for attribute in kept:
                if attribute.name == _LISTS[0]:
                    each = len(attribute.strings) // self.directions
                    names = list(attribute.strings)[part * each : (part + 1) * each]
                    del attribute.strings[:]
                    attribute.strings.extend(names)
                proto.attribute.append(attribute)
            direction = ("forward", "reverse")[part]
            proto.attribute.append(onnx.helper.make_attribute("direction", direction))
        self.edit.put(
            ops.HostOp(
                name=name,
                inputs=(x, *inputs),
                outputs=outputs,
                sources=self.node.sources,
                domain="",
                op_type=proto.op_type,
                proto=proto.SerializeToString(deterministic=True),
            ),
            beside=self.node,
        )

    def _split(self, projected: str) -> None:
        """Run each direction by itself, and join what they make."""
        edit, node = self.edit, self.node
        made: list[list[str]] = []
        for part in range(self.directions):
            low = part * self.size
            wanted = f"{projected}.{part}"
            x = self._slice(projected, 2, low, low + self.size, wanted)
            outputs = [
                edit.add_value(f"{v}.{part}", self._half(v, place)) if v else ""
                for place, v in enumerate(node.outputs)
            ]
            made.append(outputs)
            name = edit.fresh(f"{node.name}.{('forward', 'reverse')[part]}")
            self._put(name, x, self._own_inputs(part), tuple(outputs), part)
        edit.drop(node)
        for place, value in enumerate(node.outputs):
            if value:
                edit.put(
                    ops.Concat(
                        name=edit.fresh(f"{node.name}.join.{place}"),
                        inputs=tuple(outputs[place] for outputs in made),
                        outputs=(value,),
                        sources=node.sources,
                        axis=self._axis(place),
                    ),
                    beside=node,
                )

    def _axis(self, place: int) -> int:
        """Return which dimension of an output counts directions."""
        if place == 0:
            return 2 if self._batch_first else 1
        return 1 if self._batch_first else 0

    def _half(self, value: str, place: int) -> TensorType:
        held = self.edit.tensor(value)
        if not held.dims:
            return held
        dims = list(held.dims)
        dims[self._axis(place)] = 1
        return TensorType(tuple(dims), held.element)
