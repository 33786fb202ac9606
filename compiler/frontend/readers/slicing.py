"""Read what cuts and adds: Split, Slice, Pad."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lowbitc.compiler.frontend.reading import Host, reader
from lowbitc.compiler.ir import ops

if TYPE_CHECKING:
    from lowbitc.compiler.frontend.reading import Reading
    from lowbitc.compiler.ir.node import Node

_AT_RUN_TIME = "where it cuts is computed at run time"
_STEPS = 4
_PAD_VALUE, _PAD_AXES = 2, 3


@reader("Split", 2, 11, 13, 18)
def read_split(reading: Reading) -> Node | Host:
    """Read a Split; sizes are those of the outputs."""
    if reading.has(1) and reading.integers(1) is None:
        return Host(_AT_RUN_TIME)
    if not all(reading.outputs):
        return Host("one of its outputs is left out")
    axis = reading.axis(0)
    fields = reading.fields()
    fields["outputs"] = reading.outputs
    sizes = tuple(reading.made(place)[axis] for place in range(len(reading.outputs)))
    return ops.Split(**fields, axis=axis, sizes=sizes)


@reader("Slice", 1)
def read_slice_of_attributes(reading: Reading) -> Node | Host:
    """Read a Slice whose bounds are attributes."""
    held = reading.attributes
    starts, ends = held.integers("starts") or (), held.integers("ends") or ()
    axes = held.integers("axes") or tuple(range(len(starts)))
    return _slice(reading, starts, ends, axes, (1,) * len(starts))


@reader("Slice", 10, 11, 13)
def read_slice_of_inputs(reading: Reading) -> Node | Host:
    """Read a Slice whose bounds are inputs."""
    starts, ends = reading.integers(1), reading.integers(2)
    axes = reading.integers(3) if reading.has(3) else tuple(range(len(starts or ())))
    steps = reading.integers(_STEPS) if reading.has(_STEPS) else (1,) * len(starts or ())
    if starts is None or ends is None or axes is None or steps is None:
        return Host(_AT_RUN_TIME)
    return _slice(reading, starts, ends, axes, steps)


def _slice(
    reading: Reading,
    starts: tuple[int, ...],
    ends: tuple[int, ...],
    axes: tuple[int, ...],
    steps: tuple[int, ...],
) -> Node | Host:
    """Make a Slice with bounds inside the tensor and axes that ascend."""
    if any(step < 0 for step in steps):
        return Host("it reverses its input")
    shape = reading.shape()
    cuts: dict[int, tuple[int, int, int]] = {}
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        size = shape[axis]
        first, last, _ = slice(start, end, step).indices(size)
        cuts[axis % len(shape)] = (first, last, step)
    order = sorted(axis for axis, cut in cuts.items() if cut != (0, shape[axis], 1))
    if not order:
        return ops.Identity(**reading.fields())
    return ops.Slice(
        **reading.fields(),
        starts=tuple(cuts[axis][0] for axis in order),
        ends=tuple(cuts[axis][1] for axis in order),
        axes=tuple(order),
        steps=tuple(cuts[axis][2] for axis in order),
    )


@reader("Pad", 2)
def read_pad_of_attributes(reading: Reading) -> Node | Host:
    """Read a Pad whose amounts are attributes."""
    held = reading.attributes
    return _pad(reading, held.integers("pads") or (), held.number("value", 0.0))


@reader("Pad", 11, 13, 18, 19, 21, 23, 24, 25)
def read_pad_of_inputs(reading: Reading) -> Node | Host:
    """Read a Pad whose amounts are inputs; ``axes`` (opset 18) are spread over all axes."""
    pads = reading.integers(1)
    value = reading.constant(_PAD_VALUE)
    axes = reading.integers(_PAD_AXES)
    if pads is None or (reading.has(_PAD_VALUE) and value is None):
        return Host("how much it pads, or with what, is computed at run time")
    if reading.has(_PAD_AXES):
        if axes is None:
            return Host("which axes it pads is computed at run time")
        rank, count = len(reading.shape()), len(axes)
        spread = [0] * (2 * rank)
        for place, axis in enumerate(axes):
            spread[axis % rank] = pads[place]
            spread[rank + axis % rank] = pads[count + place]
        pads = tuple(spread)
    return _pad(reading, pads, 0.0 if value is None or not value.size else float(value.item()))


def _pad(reading: Reading, pads: tuple[int, ...], value: float) -> Node | Host:
    """Make a Pad, a Slice where every amount is negative, or an Identity where all are zero."""
    shape = reading.shape()
    rank = len(shape)
    begins, ends = pads[:rank], pads[rank:]
    if not any(pads):
        return ops.Identity(**reading.fields())
    if max(pads) <= 0:
        starts = tuple(-begin for begin in begins)
        stops = tuple(size + end for size, end in zip(shape, ends, strict=True))
        return _slice(reading, starts, stops, tuple(range(rank)), (1,) * rank)
    if min(pads) < 0:
        return Host("it pads some borders and cuts others")
    mode = reading.attributes.text("mode", "constant")
    return ops.Pad(**reading.fields(), pads=pads, mode=mode, value=value)


@reader("Gather", 1, 11, 13)
def read_gather(reading: Reading) -> Node | Host:
    """Read a Gather of neighbours as a Slice."""
    places = reading.constant(1)
    if places is None or places.ndim != 1 or not places.size:
        return Host("it picks elements one by one")
    axis = reading.axis(0)
    size = reading.shape()[axis]
    wanted = [int(place) % size for place in places.ravel().tolist()]
    first, last = wanted[0], wanted[-1] + 1
    if wanted != list(range(first, last)):
        return Host("it picks elements that are no neighbours")
    return _slice(reading, (first,), (last,), (axis,), (1,))
