"""Sums and gradients by products of matrices are torch's own."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'lowbitc[train]'")

from torch import nn  # noqa: E402

from lowbitc.compiler.diagnostics import CompileError  # noqa: E402
from lowbitc.training import geometry as geometries  # noqa: E402
from lowbitc.training.geometry import Geometry  # noqa: E402
from lowbitc.training.modules import read_geometry  # noqa: E402

Shape = tuple[int, ...]
CASES: list[tuple[Geometry, Shape, Shape]] = [
    (Geometry(), (5, 3), (4, 3)),
    (Geometry(), (5, 2, 3), (4, 3)),
    (Geometry((3, 3), (1, 1), (1, 1), (1, 1, 1, 1)), (2, 4, 7, 6), (6, 4, 3, 3)),
    (Geometry((3, 2), (2, 1), (1, 2), (0, 1, 1, 2), 2), (2, 4, 8, 6), (6, 2, 3, 2)),
    (Geometry((3,), (3,), (2,), (-1, 2), 4), (2, 4, 18), (4, 1, 3)),
    (Geometry((2, 2, 3), (1, 2, 2), (1, 1, 1), (0,) * 6), (2, 3, 4, 5, 6), (2, 3, 2, 2, 3)),
    (
        Geometry((3, 3), (2, 2), (1, 1), (1, 1, 1, 0), 1, transposed=True),
        (2, 4, 5, 6),
        (4, 3, 3, 3),
    ),
    (
        Geometry((3, 2), (2, 3), (2, 1), (1, 0, 1, -1), 2, transposed=True),
        (2, 4, 5, 6),
        (4, 3, 3, 2),
    ),
]


@pytest.mark.parametrize(("geometry", "x_shape", "w_shape"), CASES)
@pytest.mark.parametrize("at_once", [1, 1 << 20])
def test_products_of_matrices_give_sums_and_both_gradients(
    monkeypatch: pytest.MonkeyPatch,
    geometry: Geometry,
    x_shape: Shape,
    w_shape: Shape,
    at_once: int,
) -> None:
    monkeypatch.setattr(geometries, "_AT_ONCE", at_once)
    random = torch.Generator().manual_seed(1)
    x, w = (
        torch.randn(shape, generator=random, dtype=torch.float64, requires_grad=True)
        for shape in (x_shape, w_shape)
    )
    y = geometry.multiply(x, w)
    assert torch.allclose(geometry.sums(x, w, torch.matmul), y)
    seen = torch.randn(y.shape, generator=random, dtype=torch.float64)
    by_x, by_w = torch.autograd.grad(y, (x, w), seen)
    assert torch.allclose(geometry.input_gradient(seen, w, x.shape, torch.matmul), by_x)
    assert torch.allclose(geometry.weight_gradient(x, seen, torch.matmul), by_w)
    assert torch.allclose(geometry.torch_gradient(x, w, seen, 0), by_x)
    assert torch.allclose(geometry.torch_gradient(x, w, seen, 1), by_w)


@pytest.mark.filterwarnings("ignore:Using padding")  # torch, of even kernels
@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Linear(6, 4), (3, 6)),
        (nn.Conv1d(4, 6, 3, padding=2, dilation=2, groups=2), (2, 4, 9)),
        (nn.Conv2d(3, 5, (3, 4), stride=(2, 1), padding="valid"), (2, 3, 8, 7)),
        (nn.Conv2d(3, 5, (3, 4), padding="same"), (2, 3, 8, 7)),
        (nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1), (2, 4, 5, 4)),
        (nn.ConvTranspose3d(2, 3, 2, stride=(1, 2, 2)), (1, 2, 3, 4, 3)),
    ],
)
def test_the_geometry_of_torchs_layers_is_read(layer: nn.Module, shape: Shape) -> None:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(2))
    weight, bias = layer.weight, layer.bias
    assert isinstance(weight, nn.Parameter)
    assert isinstance(bias, nn.Parameter)
    geometry = read_geometry(layer)
    found = geometry.multiply(x, weight) + bias.reshape(-1, *(1,) * geometry.rank)
    assert torch.allclose(found, layer(x), atol=1e-5)


def test_a_layer_that_mirrors_its_input_is_refused() -> None:
    with pytest.raises(CompileError) as caught:
        read_geometry(nn.Conv2d(3, 3, 3, padding=1, padding_mode="reflect"))
    (finding,) = caught.value.diagnostics
    assert finding.code == "LB794"
    assert finding.found == "Conv2d with padding_mode reflect"
