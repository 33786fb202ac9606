"""Which products a layer's sums are made of: convolutions of any rank; dense layers have rank 0.

``multiply`` is torch's own product. The other three give, as products of matrices, a layer's sums
and the gradients of its input and its weights, so that each can be computed in any arithmetic. The
order in which a matrix product adds is: channels, then positions of the kernel; for weights:
samples, then positions of the output.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    MatrixProduct = Callable[[Tensor, Tensor], Tensor]
    """Returns [M, K] · [K, N]."""

_CONVOLVE = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
_TRANSPOSE = {
    1: functional.conv_transpose1d,
    2: functional.conv_transpose2d,
    3: functional.conv_transpose3d,
}
_AT_ONCE = 1 << 20
"""Numbers of windows that are laid out at once; what is added in which order does not change."""


@dataclass(frozen=True, slots=True)
class Geometry:
    """A convolution's kernel, strides, dilations and pads (begins, then ends, as ONNX has them)."""

    kernel: tuple[int, ...] = ()
    stride: tuple[int, ...] = ()
    dilation: tuple[int, ...] = ()
    pads: tuple[int, ...] = ()
    groups: int = 1
    transposed: bool = False

    @property
    def rank(self) -> int:
        """Number of dimensions beside samples and channels; 0 for a dense layer."""
        return len(self.kernel)

    @property
    def pointwise(self) -> bool:
        """Whether this is a convolution with a kernel of one position."""
        return self.rank > 0 and max(self.kernel) == 1

    def multiply(self, x: Tensor, weights: Tensor) -> Tensor:
        """Return the sums, by torch."""
        if not self.rank:
            return functional.linear(x, weights)
        if not self.transposed:
            outside, pads = self._padding()
            return _CONVOLVE[self.rank](
                padded(x, outside),
                weights,
                stride=self.stride,
                padding=pads,
                dilation=self.dilation,
                groups=self.groups,
            )
        whole = _TRANSPOSE[self.rank](
            x, weights, stride=self.stride, dilation=self.dilation, groups=self.groups
        )
        return padded(whole, tuple(-p for p in self.pads))

    def torch_gradient(self, x: Tensor, weights: Tensor, grad: Tensor, operand: int) -> Tensor:
        """Return the gradient of the input (operand 0) or of the weights (1), by torch."""
        if not self.rank:
            return grad @ weights if operand == 0 else _flat(grad).T @ _flat(x)
        still = (0,) * self.rank
        outside, pads = (self.pads, still) if self.transposed else self._padding()
        x, grad = (x, padded(grad, outside)) if self.transposed else (padded(x, outside), grad)
        found = torch.ops.aten.convolution_backward(
            grad,
            x,
            weights,
            None,
            self.stride,
            pads,
            self.dilation,
            self.transposed,
            still,
            self.groups,
            (operand == 0, operand == 1, False),
        )[operand]
        whole = self.transposed or operand == 1
        return cast("Tensor", found if whole else padded(found, tuple(-p for p in outside)))

    def sums(self, x: Tensor, weights: Tensor, matmul: MatrixProduct) -> Tensor:
        """Return the sums by matrix products."""
        if not self.rank:
            return matmul(weights, _flat(x).T).T.reshape(*x.shape[:-1], -1)
        if not self.transposed:
            return self._correlate(x, weights, matmul)
        size = [
            (n - 1) * s + (k - 1) * d + 1 - begin - end
            for n, s, k, d, begin, end in zip(
                x.shape[2:], self.stride, self.kernel, self.dilation, *self._ends(), strict=True
            )
        ]
        return self._spread(x, weights, size, matmul)

    def input_gradient(
        self, grad: Tensor, weights: Tensor, shape: Sequence[int], matmul: MatrixProduct
    ) -> Tensor:
        """Return the gradient of an input of this shape, of that of the sums."""
        if not self.rank:
            return matmul(weights.T.contiguous(), _flat(grad).T).T.reshape(*shape)
        if self.transposed:
            return self._correlate(grad, weights, matmul)
        return self._spread(grad, weights, shape[2:], matmul)

    def weight_gradient(self, x: Tensor, grad: Tensor, matmul: MatrixProduct) -> Tensor:
        """Return the gradient of the weights, of the input and the gradient of the sums."""
        if not self.rank:
            return matmul(_flat(grad).T.contiguous(), _flat(x))
        if self.transposed:
            x, grad = grad, x
        # Turned around, the windows lie as they do for the sums.
        outputs = grad.movedim(1, -1).reshape(-1, self.groups, grad.shape[1] // self.groups)
        found: list[Tensor] = []
        for group, part in zip(outputs.unbind(1), x.chunk(self.groups, dim=1), strict=True):
            held = group.contiguous()
            few = max(1, _AT_ONCE // max(len(held) * math.prod(self.kernel), 1))
            rows = torch.cat(
                [matmul(self._columns(c), held) for c in torch.split(part, few, dim=1)]
            )
            found.append(rows.T.reshape(held.shape[1], -1, *self.kernel))
        return torch.cat(found)

    def _padding(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return pads to add before a convolution, and those that it adds by itself: even ones."""
        begins, ends = self._ends()
        even = begins == ends and min(begins) >= 0
        return ((), begins) if even else (self.pads, (0,) * self.rank)

    def _ends(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        return self.pads[: self.rank], self.pads[self.rank :]

    def _correlate(self, x: Tensor, weights: Tensor, matmul: MatrixProduct) -> Tensor:
        """Return the sums of windows of x and weights [O, C / groups, kernel…]."""
        rows = weights.reshape(self.groups, len(weights) // self.groups, -1)
        size = [
            (n + begin + end - (k - 1) * d - 1) // s + 1
            for n, k, s, d, begin, end in zip(
                x.shape[2:], self.kernel, self.stride, self.dilation, *self._ends(), strict=True
            )
        ]
        parts: list[Tensor] = []
        for samples in self._few(x):
            columns = self._columns(samples).reshape(*rows.shape[::2], -1)
            sums = torch.cat([matmul(w, c) for w, c in zip(rows, columns, strict=True)])
            parts.append(sums.reshape(len(weights), len(samples), *size).transpose(0, 1))
        return torch.cat(parts)

    def _few(self, x: Tensor) -> Iterator[Tensor]:
        """Yield the samples of x, as many at a time as windows may be laid out at once."""
        held = math.prod((*x.shape[1:], *self.kernel))
        yield from torch.split(x, max(1, _AT_ONCE // max(held, 1)))

    def _columns(self, x: Tensor) -> Tensor:
        """Return windows of x: [channels and kernel, samples and positions]."""
        x = padded(x, self.pads)
        for axis, (k, s, d) in enumerate(
            zip(self.kernel, self.stride, self.dilation, strict=True), start=2
        ):
            x = x.unfold(axis, (k - 1) * d + 1, s)[..., ::d]
        places = range(2, 2 + self.rank)
        windows = x.permute(1, *range(2 + self.rank, x.ndim), 0, *places)
        return windows.reshape(x.shape[1] * math.prod(self.kernel), -1)

    def _spread(
        self, grad: Tensor, weights: Tensor, size: Sequence[int], matmul: MatrixProduct
    ) -> Tensor:
        """Return what a correlation of this geometry that gave ``grad`` would have as gradient.

        It is a correlation too: of grad, with zeros between and around, and the weights turned.
        """
        begins: list[int] = []
        ends: list[int] = []
        for axis in range(self.rank):
            stride, n = self.stride[axis], grad.shape[2 + axis]
            whole = (n - 1) * stride + 1
            wide = grad.new_zeros(*grad.shape[: 2 + axis], whole, *grad.shape[3 + axis :])
            wide[(slice(None),) * (2 + axis) + (slice(None, None, stride),)] = grad
            grad = wide
            reach = (self.kernel[axis] - 1) * self.dilation[axis]
            begins.append(reach - self.pads[axis])
            ends.append(size[axis] - whole + self.pads[axis])
        turned = weights.reshape(self.groups, -1, *weights.shape[1:]).transpose(1, 2)
        turned = turned.reshape(-1, *turned.shape[2:]).flip(tuple(range(2, 2 + self.rank)))
        unit = (1,) * self.rank
        plain = Geometry(self.kernel, unit, self.dilation, (*begins, *ends), self.groups)
        return plain._correlate(grad, turned, matmul)


def padded(x: Tensor, pads: Sequence[int], value: float = 0.0) -> Tensor:
    """Pad or, where a number is negative, cut the last dimensions: begins, then ends."""
    if not any(pads):
        return x
    rank = len(pads) // 2
    ends = zip(pads[:rank], pads[rank:], strict=True)
    torchs = [p for pair in reversed(list(ends)) for p in pair]
    return functional.pad(x, torchs, value=value)


def _flat(x: Tensor) -> Tensor:
    return x.reshape(-1, x.shape[-1])
