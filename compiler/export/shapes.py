"""Write operators that move elements: shapes, slices, padding, enlargement."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lowbitc.compiler.export.operators import write
from lowbitc.compiler.ir import ops

if TYPE_CHECKING:
    from lowbitc.compiler.export.writer import Writer

_AXES_ARE_INPUTS = 13
_PADS_ARE_INPUTS = 11
_STARTS_ARE_INPUTS = 10
_RESIZE = 10
_COORDINATES = 11
_NO_REGION = 13
_SCALES_ARE_INPUTS = 9


@write.register(ops.Concat)
def _concat(node: ops.Concat, to: Writer) -> None:
    to.emit(node, "Concat", node.inputs, axis=node.axis)


@write.register(ops.Transpose)
def _transpose(node: ops.Transpose, to: Writer) -> None:
    to.emit(node, "Transpose", node.inputs, perm=node.perm)


@write.register(ops.Split)
def _split(node: ops.Split, to: Writer) -> None:
    if to.opset >= _AXES_ARE_INPUTS:
        sizes = to.integers(node, "sizes", node.sizes)
        to.emit(node, "Split", (*node.inputs, sizes), axis=node.axis)
    else:
        to.emit(node, "Split", node.inputs, axis=node.axis, split=node.sizes)


@write.register(ops.Reshape)
def _reshape(node: ops.Reshape, to: Writer) -> None:
    wanted = to.rows_shape(node.outputs[0])
    to.emit_reshape(node, node.inputs[0], wanted or node.shape)


@write.register(ops.Flatten)
def _flatten(node: ops.Flatten, to: Writer) -> None:
    wanted = to.rows_shape(node.outputs[0])
    if node.axis == 0 and wanted:
        to.emit_reshape(node, node.inputs[0], wanted)
    else:
        to.emit(node, "Flatten", node.inputs, axis=node.axis)


def _write_axes(node: ops.Squeeze | ops.Unsqueeze, to: Writer) -> None:
    wanted = to.rows_shape(node.outputs[0])
    if 0 in node.axes and wanted:
        to.emit_reshape(node, node.inputs[0], wanted)
    elif not node.axes:
        to.emit(node, "Identity", node.inputs)
    elif to.opset >= _AXES_ARE_INPUTS:
        to.emit(node, node.op, (*node.inputs, to.integers(node, "axes", node.axes)))
    else:
        to.emit(node, node.op, node.inputs, axes=node.axes)


write.register(ops.Squeeze, _write_axes)
write.register(ops.Unsqueeze, _write_axes)


@write.register(ops.Pad)
def _pad(node: ops.Pad, to: Writer) -> None:
    if to.opset < _PADS_ARE_INPUTS:
        to.emit(node, "Pad", node.inputs, pads=node.pads, mode=node.mode, value=node.value)
        return
    inputs = [node.inputs[0], to.integers(node, "pads", node.pads)]
    if node.mode == "constant":
        inputs.append(to.scalar(node, "value", node.value))
    to.emit(node, "Pad", inputs, mode=node.mode)


@write.register(ops.Slice)
def _slice(node: ops.Slice, to: Writer) -> None:
    if to.opset < _STARTS_ARE_INPUTS:
        to.emit(node, "Slice", node.inputs, starts=node.starts, ends=node.ends, axes=node.axes)
        return
    fields = {"starts": node.starts, "ends": node.ends, "axes": node.axes, "steps": node.steps}
    parts = (to.integers(node, role, values) for role, values in fields.items())
    to.emit(node, "Slice", (*node.inputs, *parts))


@write.register(ops.Upsample)
def _upsample(node: ops.Upsample, to: Writer) -> None:
    x = node.inputs[0]
    if to.opset < _SCALES_ARE_INPUTS:
        factors = tuple(float(f) for f in node.factors)
        to.emit(node, "Upsample", (x,), mode="nearest", scales=factors)
        return
    scales = to.constant(f"{node.name}/scales", np.asarray(node.factors, np.float32))
    if to.opset < _RESIZE:
        to.emit(node, "Upsample", (x, scales), mode="nearest")
    elif to.opset < _COORDINATES:
        to.emit(node, "Resize", (x, scales), mode="nearest")
    else:
        region = ""
        if to.opset < _NO_REGION:
            region = to.constant(f"{node.name}/region", np.zeros(0, np.float32))
        to.emit(
            node,
            "Resize",
            (x, region, scales),
            mode="nearest",
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        )
