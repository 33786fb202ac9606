"""Layers with hand-written gradients, enough to train a small convolutional network in numpy.

Images are N,C,H,W; weights of a convolution are O,I,kH,kW, of a dense layer O,I.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

F32 = NDArray[np.float32]


@dataclass(slots=True, eq=False)
class Parameter:
    """A trained array, its gradient, and its momentum."""

    value: F32
    decay: float = 0.0
    gradient: F32 = field(init=False)
    momentum: F32 = field(init=False)

    def __post_init__(self) -> None:
        """Start at rest."""
        self.gradient = np.zeros_like(self.value)
        self.momentum = np.zeros_like(self.value)

    def step(self, rate: float, inertia: float = 0.9) -> None:
        """Take one step of stochastic gradient descent with Nesterov's momentum."""
        gradient = self.gradient + self.value * np.float32(self.decay)
        self.momentum *= np.float32(inertia)
        self.momentum += gradient
        self.value -= (gradient + self.momentum * np.float32(inertia)) * np.float32(rate)


class Layer(Protocol):
    """A differentiable function that remembers what its gradient needs."""

    parameters: tuple[Parameter, ...]

    def forward(self, x: F32, *, training: bool) -> F32:
        """Return the output for ``x``."""
        ...

    def backward(self, gradient: F32) -> F32:
        """Return the gradient at the input; keep those of the parameters."""
        ...


class Conv:
    """A 3x3 convolution with zero padding, stride 1, and no bias (batch norm follows)."""

    def __init__(self, inputs: int, outputs: int, random: np.random.Generator) -> None:
        """Draw He-normal weights."""
        scale = np.sqrt(2 / (9 * inputs))
        drawn = random.standard_normal((outputs, inputs, 3, 3)) * scale
        self.weight = Parameter(drawn.astype(np.float32), decay=5e-4)
        self.parameters = (self.weight,)
        self._columns = np.zeros((0, 0), np.float32)

    def forward(self, x: F32, *, training: bool) -> F32:
        """Return N,O,H,W: a product of windows and weights."""
        del training
        n, _, h, w = x.shape
        windows = sliding_window_view(np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1))), (3, 3), (2, 3))
        self._columns = windows.transpose(0, 2, 3, 1, 4, 5).reshape(n * h * w, -1)
        out = self._columns @ self.weight.value.reshape(len(self.weight.value), -1).T
        return out.reshape(n, h, w, -1).transpose(0, 3, 1, 2)

    def backward(self, gradient: F32) -> F32:
        """Return the gradient at the input: a convolution with the weights turned around."""
        n, o, h, w = gradient.shape
        rows = gradient.transpose(0, 2, 3, 1).reshape(-1, o)
        self.weight.gradient = (rows.T @ self._columns).reshape(self.weight.value.shape)
        windows = sliding_window_view(
            np.pad(gradient, ((0, 0), (0, 0), (1, 1), (1, 1))), (3, 3), (2, 3)
        )
        turned = self.weight.value[:, :, ::-1, ::-1].transpose(1, 0, 2, 3)
        columns = windows.transpose(0, 2, 3, 1, 4, 5).reshape(n * h * w, -1)
        back = columns @ turned.reshape(len(turned), -1).T
        return back.reshape(n, h, w, -1).transpose(0, 3, 1, 2)


class BatchNorm:
    """Batch normalization over N,H,W (Ioffe and Szegedy, 2015)."""

    epsilon = np.float32(1e-5)
    pace = np.float32(0.1)

    def __init__(self, channels: int) -> None:
        """Start as the identity."""
        self.scale = Parameter(np.ones(channels, np.float32))
        self.shift = Parameter(np.zeros(channels, np.float32))
        self.parameters = (self.scale, self.shift)
        self.mean = np.zeros(channels, np.float32)
        self.variance = np.ones(channels, np.float32)
        self._normal = np.zeros((0, 0, 0, 0), np.float32)
        self._deviation = np.ones(channels, np.float32)

    def forward(self, x: F32, *, training: bool) -> F32:
        """Normalize by the batch's statistics in training, by the running ones otherwise."""
        mean, variance = self.mean, self.variance
        if training:
            mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3))
            self.mean += (mean - self.mean) * self.pace
            self.variance += (variance - self.variance) * self.pace
        self._deviation = np.sqrt(variance + self.epsilon)
        self._normal = (x - _planes(mean)) / _planes(self._deviation)
        return self._normal * _planes(self.scale.value) + _planes(self.shift.value)

    def backward(self, gradient: F32) -> F32:
        """Return the gradient at the input, through the batch's statistics."""
        self.scale.gradient = (gradient * self._normal).sum((0, 2, 3))
        self.shift.gradient = gradient.sum((0, 2, 3))
        count = np.float32(gradient.size / gradient.shape[1])
        spread = self._normal * _planes(self.scale.gradient / count)
        centred = gradient - _planes(self.shift.gradient / count) - spread
        return _planes(self.scale.value / self._deviation) * centred.astype(np.float32)


class Relu:
    """The rectifier."""

    parameters: tuple[Parameter, ...] = ()

    def __init__(self) -> None:
        """Remember nothing yet."""
        self._open = np.zeros((0, 0, 0, 0), np.bool_)

    def forward(self, x: F32, *, training: bool) -> F32:
        """Return max(x, 0)."""
        del training
        self._open = x > 0
        return x * self._open

    def backward(self, gradient: F32) -> F32:
        """Pass the gradient where the input was positive."""
        return gradient * self._open


class MaxPool:
    """A 2x2 maximum with stride 2."""

    parameters: tuple[Parameter, ...] = ()

    def __init__(self) -> None:
        """Remember nothing yet."""
        self._first = np.zeros((0, 0, 0, 0, 0), np.bool_)

    def forward(self, x: F32, *, training: bool) -> F32:
        """Return the largest of each 2x2 block."""
        del training
        n, c, h, w = x.shape
        blocks = x.reshape(n, c, h // 2, 2, w // 2, 2).transpose(0, 1, 2, 4, 3, 5)
        cells = blocks.reshape(n, c, h // 2, w // 2, 4)
        self._first = np.arange(4) == cells.argmax(-1)[..., None]
        return cells.max(-1)

    def backward(self, gradient: F32) -> F32:
        """Give the gradient to the first of the largest."""
        n, c, h, w = gradient.shape
        cells = (gradient[..., None] * self._first).reshape(n, c, h, w, 2, 2)
        return cells.transpose(0, 1, 2, 4, 3, 5).reshape(n, c, 2 * h, 2 * w)


class Dense:
    """Flatten, then a product with a weight matrix, and a bias."""

    def __init__(self, inputs: int, outputs: int, random: np.random.Generator) -> None:
        """Draw weights of variance 1/inputs."""
        drawn = random.standard_normal((outputs, inputs)) / np.sqrt(inputs)
        self.weight = Parameter(drawn.astype(np.float32), decay=5e-4)
        self.bias = Parameter(np.zeros(outputs, np.float32))
        self.parameters = (self.weight, self.bias)
        self._x = np.zeros((0, 0), np.float32)
        self._shape: tuple[int, ...] = ()

    def forward(self, x: F32, *, training: bool) -> F32:
        """Return N,O."""
        del training
        self._shape = x.shape
        self._x = x.reshape(len(x), -1)
        return self._x @ self.weight.value.T + self.bias.value

    def backward(self, gradient: F32) -> F32:
        """Return the gradient at the input, in the input's shape."""
        self.weight.gradient = gradient.T @ self._x
        self.bias.gradient = gradient.sum(0)
        return (gradient @ self.weight.value).reshape(self._shape)


def _planes(channels: F32) -> F32:
    return channels[None, :, None, None]
