"""AdaComp: gradients that send a few of their entries, and keep the rest (Chen et al., AAAI 2018).

A layer's gradient dW meets what was not sent before, the residue: G = residue + dW. In each bin of
T entries those go out that would still be among the largest if dW came once more: |G + dW| ≥ max|G|
of the bin. What is sent is the sign of G times one scale a layer, the mean of its bins' maxima;
what is not sent of G is the next residue.

On the wire a layer is a count and a scale, then a code of some bits for each entry, bins in order:
its place within the bin, its sign, and whether more of the bin follow. The place T is an empty bin.
"""

# pyright: reportUnknownMemberType=false
# torch leaves some of its own functions half typed.

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

_BYTE = 8
_SCALE_BYTES = 4


@dataclass(frozen=True, slots=True)
class Sent:
    """What one process sends of a layer: ``places`` in ascending order, and −1 or 1 for each."""

    places: Tensor
    signs: Tensor
    scale: float


@dataclass(frozen=True, slots=True)
class Bins:
    """The bins of one layer of ``size`` weights, ``length`` weights each, and its codes."""

    size: int
    length: int

    @property
    def count(self) -> int:
        """Number of bins; the last may be shorter."""
        return -(-self.size // self.length)

    @property
    def code_bits(self) -> int:
        """Bits of a code: a place from 0 to ``length``, a sign, and whether more follow."""
        return self.length.bit_length() + 2

    @property
    def count_bytes(self) -> int:
        """Bytes that the number of codes takes."""
        return -(-self.size.bit_length() // _BYTE)

    def choose(self, grad: Tensor, residue: Tensor) -> Sent:
        """Return what goes out of a flat gradient; leave the rest in ``residue``."""
        whole = residue + grad
        binned = self._binned(whole.abs())
        most = binned.amax(dim=1, keepdim=True)
        chosen = (self._binned((whole + grad).abs()) >= most) & (most > 0)
        places = chosen.reshape(-1)[: self.size].nonzero().reshape(-1)
        scale = float(most.mean())
        signs = torch.sign(whole[places])
        residue.copy_(whole)
        residue[places] -= signs * scale
        return Sent(places, signs, scale)

    def _binned(self, values: Tensor) -> Tensor:
        short = self.count * self.length - self.size
        return torch.nn.functional.pad(values, (0, short)).reshape(self.count, self.length)

    def pack(self, sent: Sent) -> Tensor:
        """Return the bytes of what is sent."""
        device = sent.places.device
        bins = torch.div(sent.places, self.length, rounding_mode="floor")
        filled = torch.zeros(self.count, dtype=torch.bool, device=device)
        filled[bins] = True
        empty = (~filled).nonzero().reshape(-1)
        every = torch.cat((bins, empty))
        order = torch.argsort(every, stable=True)
        places = torch.cat((sent.places % self.length, torch.full_like(empty, self.length)))[order]
        minus = torch.cat((sent.signs < 0, torch.zeros_like(empty, dtype=torch.bool)))[order]
        every = every[order]
        more = torch.zeros_like(minus)
        more[:-1] = every[1:] == every[:-1]
        codes = (places << 2) | (minus.to(places.dtype) << 1) | more.to(places.dtype)
        head = len(codes).to_bytes(self.count_bytes, "little")
        head += np.float32(sent.scale).astype("<f4").tobytes()
        start = torch.tensor(list(head), dtype=torch.uint8, device=device)
        return torch.cat((start, _to_bytes(codes, self.code_bits)))

    def unpack(self, data: Tensor) -> tuple[Tensor, int]:
        """Return the flat gradient that bytes begin with, and how many bytes it took."""
        head = data[: self.count_bytes + _SCALE_BYTES].cpu().numpy().tobytes()
        count = int.from_bytes(head[: self.count_bytes], "little")
        (scale,) = np.frombuffer(head[self.count_bytes :], "<f4")
        taken = -(-count * self.code_bits // _BYTE)
        codes = _from_bytes(data[len(head) : len(head) + taken], count, self.code_bits)
        more, minus, places = codes & 1, (codes >> 1) & 1, codes >> 2
        ends = torch.cumsum(1 - more, dim=0)
        bins = ends - (1 - more)
        held = places < self.length
        found = torch.zeros(self.size, dtype=torch.float32, device=data.device)
        value = torch.where(minus == 1, -float(scale), float(scale)).to(found.dtype)
        found[(bins * self.length + places)[held]] = value[held]
        return found, len(head) + taken


def _to_bytes(codes: Tensor, bits: int) -> Tensor:
    """Write codes bit by bit, the highest first; the last byte is filled up with zeros."""
    shifts = torch.arange(bits - 1, -1, -1, device=codes.device)
    flat = ((codes.reshape(-1, 1) >> shifts) & 1).reshape(-1)
    flat = torch.nn.functional.pad(flat, (0, -len(flat) % _BYTE)).reshape(-1, _BYTE)
    powers = 1 << torch.arange(_BYTE - 1, -1, -1, device=codes.device)
    return (flat * powers).sum(dim=1).to(torch.uint8)


def _from_bytes(data: Tensor, count: int, bits: int) -> Tensor:
    """Read codes back."""
    shifts = torch.arange(_BYTE - 1, -1, -1, device=data.device)
    flat = ((data.to(torch.int64).reshape(-1, 1) >> shifts) & 1).reshape(-1)
    powers = 1 << torch.arange(bits - 1, -1, -1, device=data.device)
    return (flat[: count * bits].reshape(count, bits) * powers).sum(dim=1)
