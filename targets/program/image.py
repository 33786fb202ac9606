"""The memory image of one neural processor.

All integers are little endian. A header of 80 bytes, then, without gaps, the packed weights, the
output stage's constants, the table and the routes::

    offset  size  field
         0     2  version of the image, 1
         2     1  weights' alphabet: 0 none, 1 two's complement, 2 odd levels
         3     1  weights' bits, 0 without weights
         4     4  layer, counted over the program's nodes that run on the chip
         8     4  pass
        12     4  x on the mesh
        16     4  y on the mesh
        20     8  output channels, start and stop
        28     8  input channels, start and stop
        36     8  output columns, start and stop
        44     4  length of the weights
        48     4  length of the output stage's constants
        52     4  length of the table, 0 or 256
        56     4  bytes of activation memory in use
        60     4  number of routes
        64     1  unit: 0 an NP, 1 the input unit, 2 an NP that streams its weights
        65    15  reserved, 0

A route is two indices of NP images, start and stop, or twice 0xFFFFFFFF: to memory outside the
mesh. Weights are one row an output channel, over input channels, then taps; levels are packed as
in ``container.levels``. Constants of the output stage are a record a channel: thresholds as
int32; or a bias as int32, then multiplier | shift << 24, then the clamp's ends as int16; or, for
sums that leave the chip, a bias as int32.
"""

from __future__ import annotations

import itertools
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from lowbitc.compiler.elements import Alphabet, LevelType
from lowbitc.targets.placement.model import EXTERNAL, NeuralProcessor, Unit

if TYPE_CHECKING:
    from lowbitc.targets.placement.model import Range

VERSION: Final = 1
_HEADER: Final = struct.Struct("<HBB4I6I5IB15s")
_ROUTE: Final = struct.Struct("<II")
_EXTERNAL_WORD: Final = (1 << 32) - 1
_ALPHABETS: Final = {Alphabet.SIGNED: 1, Alphabet.ODD: 2}
_WIDTHS: Final = (1, 2, 4, 8)


class ImageError(ValueError):
    """Bytes that are no NP image; the text says why."""


@dataclass(frozen=True, slots=True)
class Image:
    """An NP's memory: where it stands, its block of a layer, and the bytes it holds."""

    layer: int
    pass_index: int
    x: int
    y: int
    channels: Range
    inputs: Range
    columns: Range
    weight: LevelType | None
    weights: bytes
    stage: bytes
    table: bytes
    activation_bytes: int
    routes: tuple[Range, ...]
    unit: Unit = Unit.NP

    def to_bytes(self) -> bytes:
        """Encode the image."""
        header = _HEADER.pack(
            VERSION,
            _ALPHABETS[self.weight.alphabet] if self.weight else 0,
            self.weight.bits if self.weight else 0,
            self.layer,
            self.pass_index,
            self.x,
            self.y,
            *self.channels,
            *self.inputs,
            *self.columns,
            len(self.weights),
            len(self.stage),
            len(self.table),
            self.activation_bytes,
            len(self.routes),
            self.unit,
            bytes(15),
        )
        words = [tuple(w & _EXTERNAL_WORD for w in route) for route in self.routes]
        routes = b"".join(_ROUTE.pack(*route) for route in words)
        return b"".join((header, self.weights, self.stage, self.table, routes))

    def processor(self, index: int, layer: str) -> NeuralProcessor:
        """Return the placement's view of the image."""
        return NeuralProcessor(
            index,
            self.x,
            self.y,
            layer,
            self.channels,
            self.inputs,
            self.columns,
            len(self.weights),
            len(self.stage) + len(self.table),
            self.activation_bytes,
            self.routes,
            self.unit,
        )


def read_image(data: bytes | memoryview) -> Image:
    """Decode an image.

    Raises ImageError when a field or a length is not what an image has.
    """
    view = memoryview(data).cast("B")
    if len(view) < _HEADER.size:
        message = f"{len(view)} bytes, less than a header"
        raise ImageError(message)
    fields = _HEADER.unpack_from(view)
    version, alphabet, bits, layer, pass_index, x, y = fields[:7]
    channels, inputs, columns = fields[7:9], fields[9:11], fields[11:13]
    *sizes, activation_bytes, route_count = fields[13:18]
    unit, reserved = fields[18:20]
    if version != VERSION or any(reserved) or unit > max(Unit):
        message = f"version {version} of unit {unit} with reserved bytes {reserved.hex()}"
        raise ImageError(message)
    if any(start >= stop for start, stop in (channels, inputs, columns)):
        message = f"an empty block: channels {channels}, inputs {inputs}, columns {columns}"
        raise ImageError(message)
    if _HEADER.size + sum(sizes) + route_count * _ROUTE.size != len(view):
        message = f"{len(view)} bytes for parts of {sizes} bytes and {route_count} routes"
        raise ImageError(message)
    ends = np.cumsum([_HEADER.size, *sizes]).tolist()
    weights, stage, table = (bytes(view[start:stop]) for start, stop in itertools.pairwise(ends))
    routes = tuple(_route(*pair) for pair in _ROUTE.iter_unpack(view[ends[-1] :]))
    return Image(
        layer,
        pass_index,
        x,
        y,
        channels,
        inputs,
        columns,
        _weight_type(alphabet, bits),
        weights,
        stage,
        table,
        activation_bytes,
        routes,
        Unit(unit),
    )


def _weight_type(alphabet: int, bits: int) -> LevelType | None:
    if alphabet == bits == 0:
        return None
    by_code = {code: found for found, code in _ALPHABETS.items()}
    odd = by_code.get(alphabet) is Alphabet.ODD
    if alphabet not in by_code or bits not in _WIDTHS or (odd and bits == _WIDTHS[-1]):
        message = f"weights of alphabet {alphabet} and {bits} bits"
        raise ImageError(message)
    return LevelType(by_code[alphabet], bits)


def _route(start: int, stop: int) -> Range:
    if start == stop == _EXTERNAL_WORD:
        return (EXTERNAL, EXTERNAL)
    if start >= stop:
        message = f"an empty route {start} to {stop}"
        raise ImageError(message)
    return (start, stop)
