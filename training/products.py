"""A layer's product, whose two backward products are computed in a format of few bits."""

# pyright: reportUnknownMemberType=false
# torch leaves some of its own functions half typed.

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from lowbitc.training import sums
from lowbitc.training.arithmetic import Arithmetic

if TYPE_CHECKING:
    from collections.abc import Callable

    from lowbitc.training.geometry import Geometry, MatrixProduct
    from lowbitc.training.gradients import GradientFormat


def multiply(
    geometry: Geometry, x: Tensor, weights: Tensor, form: GradientFormat, *, forward: bool = False
) -> Tensor:
    """Return the sums of a layer, whose gradients are computed in a format.

    Where the format's training rounds every sum the two backward products do, and with
    ``forward`` this one does too.
    """
    if form.arithmetic is Arithmetic.FLOAT:
        return geometry.multiply(x, weights)
    apply = cast("Callable[..., Tensor]", _Product.apply)
    return apply(x, weights, geometry, form, forward)


def _matmul(form: GradientFormat) -> MatrixProduct:
    """Return how matrices are multiplied."""
    if form.settings.rounds_sums:
        return partial(sums.multiply, chunk=form.settings.chunk)
    return torch.matmul


class _Product(torch.autograd.Function):
    """A product whose two gradients read two roundings of the gradient of its output."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - torch types it so
        x: Tensor,
        weights: Tensor,
        geometry: Geometry,
        form: GradientFormat,
        forward: bool,  # noqa: FBT001 - likewise
    ) -> Tensor:
        """Multiply."""
        ctx.save_for_backward(x, weights)
        ctx.geometry, ctx.form = geometry, form
        if forward and form.settings.rounds_sums:
            return geometry.sums(x, weights, _matmul(form))
        return geometry.multiply(x, weights)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        """Multiply the gradient with each operand for the other's."""
        x, weights = cast("tuple[Tensor, Tensor]", ctx.saved_tensors)
        geometry, form = cast("tuple[Geometry, GradientFormat]", (ctx.geometry, ctx.form))
        for_x, for_weights, unit = form.rounded(grads[0])
        wanted = ctx.needs_input_grad
        by_x = by_weights = None
        if form.settings.rounds_sums:
            matmul = _matmul(form)
            if wanted[0]:
                by_x = geometry.input_gradient(for_x, weights, x.shape, matmul)
            if wanted[1]:
                by_weights = geometry.weight_gradient(x, for_weights, matmul)
        else:
            if wanted[0]:
                by_x = geometry.torch_gradient(x, weights, for_x, 0)
            if wanted[1]:
                by_weights = geometry.torch_gradient(x, weights, for_weights, 1)
        found = (g if g is None or unit == 1 else g * unit for g in (by_x, by_weights))
        return (*found, None, None, None)
