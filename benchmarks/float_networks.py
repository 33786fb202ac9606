"""Train the float networks that tuning is measured on.

    python benchmarks/float_networks.py --out DIR fashion IMAGES
    python benchmarks/float_networks.py --out DIR cifar MODEL TRAIN TEST

``fashion`` trains a VGG-like network of about a million parameters on Fashion-MNIST (IMAGES is the
folder of its four idx files, plain or gzipped) and writes fashion_vgg.onnx, fashion_train.npz,
fashion_calib.npz and fashion_test.npz. ``cifar`` takes MLPerf Tiny's ResNet-8 (MODEL, ONNX with
batch norm), trains it further on images 0 … 255 (TRAIN and TEST: npz with x [n,3,32,32] and y) and
writes cifar_resnet8.onnx. Training is seeded; needs PyTorch.
"""

from __future__ import annotations

import argparse
import gzip
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

_OPSET = 17
_CALIBRATION = 512
_FILES = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")


class Residual(nn.Module):
    """A residual block of MLPerf Tiny's ResNet-8, with a pointwise shortcut where it narrows."""

    def __init__(self, inward: int, outward: int) -> None:
        """Narrow the map where the number of channels changes."""
        super().__init__()
        self.stride = 1 if inward == outward else 2
        self.first = nn.Conv2d(inward, outward, 3, self.stride, 2 - self.stride)
        self.first_norm = nn.BatchNorm2d(outward, eps=1e-3)
        self.second = nn.Conv2d(outward, outward, 3, 1, 1)
        self.second_norm = nn.BatchNorm2d(outward, eps=1e-3)
        self.shortcut = nn.Conv2d(inward, outward, 1, 2) if inward != outward else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output; TensorFlow pads a stride of two at the end only."""
        padded = functional.pad(x, (0, 1, 0, 1)) if self.stride > 1 else x
        y = functional.relu(self.first_norm(self.first(padded)))
        return functional.relu(self.second_norm(self.second(y)) + self.shortcut(x))


def fashion_vgg() -> nn.Sequential:
    """Return the network for Fashion-MNIST: 0.96 M parameters, 17.8 M multiply-accumulates."""
    layers: list[nn.Module] = []
    inward = 1
    for index, outward in enumerate((16, 24, 48, 64, 96, 96)):
        layers += [
            nn.Conv2d(inward, outward, 3, padding=1, bias=False),
            nn.BatchNorm2d(outward),
            nn.ReLU(),
        ]
        layers += [nn.MaxPool2d(2)] if index % 2 else []
        inward = outward
    dense = [nn.Linear(864, 896, bias=False), nn.BatchNorm1d(896), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), *dense, nn.Dropout(0.3), nn.Linear(896, 10))


def resnet8() -> nn.Sequential:
    """Return MLPerf Tiny's ResNet-8; it reads pixels 0 … 255."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1),
        nn.BatchNorm2d(16, eps=1e-3),
        nn.ReLU(),
        Residual(16, 16),
        Residual(16, 32),
        Residual(32, 64),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, 10),
    )


def read_weights(network: nn.Sequential, path: Path) -> None:
    """Copy the weights of MLPerf Tiny's ResNet-8, whose layers come in the order of torch's."""
    model = onnx.load(path)
    held = {t.name: torch.tensor(numpy_helper.to_array(t)) for t in model.graph.initializer}
    pending: dict[str, list[list[Tensor]]] = {}
    for node in model.graph.node:
        found = [held[name] for name in node.input if name in held]
        pending.setdefault(node.op_type, []).extend([found] if found else [])
    # In the file the shortcut of a block stands behind its two convolutions, as it does in torch.
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                weight, bias = pending["Conv"].pop(0)
                module.weight.copy_(weight)
                module.bias.copy_(bias)
            elif isinstance(module, nn.BatchNorm2d):
                parts = pending["BatchNormalization"].pop(0)
                names = ("weight", "bias", "running_mean", "running_var")
                for name, part in zip(names, parts, strict=True):
                    getattr(module, name).copy_(part)
            elif isinstance(module, nn.Linear):
                weight, bias = pending["Gemm"].pop(0)
                module.weight.copy_(weight.T)
                module.bias.copy_(bias)


def read_idx(folder: Path, name: str) -> npt.NDArray[np.uint8]:
    """Read one idx file of bytes, gzipped or not."""
    path = folder / f"{name}-ubyte"
    raw = path.read_bytes() if path.exists() else gzip.decompress(Path(f"{path}.gz").read_bytes())
    shape = np.frombuffer(raw, ">u4", raw[3], 4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * raw[3]).reshape(shape)


def augment(x: Tensor, shift: int, random: torch.Generator) -> Tensor:
    """Mirror half of the images, and move each by up to ``shift`` pixels."""
    count, _, height, width = x.shape
    mirrored = torch.rand(count, 1, 1, 1, generator=random) < 0.5
    x = torch.where(mirrored, x.flip(3), x)
    padded = functional.pad(x, (shift,) * 4)
    down, right = (torch.randint(2 * shift + 1, (count, 1), generator=random) for _ in range(2))
    rows = (down + torch.arange(height))[:, None, :, None]
    columns = (right + torch.arange(width))[:, None, None, :]
    images = torch.arange(count)[:, None, None, None]
    channels = torch.arange(x.shape[1])[None, :, None, None]
    return padded[images, channels, rows, columns]


@dataclass(frozen=True)
class Recipe:
    """Stochastic gradient descent with momentum; the rate rises, then falls to 0 in one cycle."""

    epochs: int
    rate: float
    shift: int
    decay: float = 5e-4
    batch: int = 128
    seed: int = 0


def batches(count: int, size: int, random: torch.Generator) -> Iterator[Tensor]:
    """Yield the indices of whole batches in a random order."""
    order = torch.randperm(count, generator=random)
    for start in range(0, count - size + 1, size):
        yield order[start : start + size]


def train(network: nn.Module, x: Tensor, y: Tensor, recipe: Recipe) -> None:
    """Train a network on images of bytes and their labels."""
    random = torch.Generator().manual_seed(recipe.seed)
    optimizer = torch.optim.SGD(
        network.parameters(), recipe.rate, 0.9, weight_decay=recipe.decay, nesterov=True
    )
    steps = recipe.epochs * (len(x) // recipe.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.rate, steps, pct_start=0.25)
    network.train()
    for epoch in range(recipe.epochs):
        start, total = time.perf_counter(), 0.0
        for rows in batches(len(x), recipe.batch, random):
            images = augment(x[rows].float(), recipe.shift, random)
            loss = functional.cross_entropy(network(images), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += float(loss.detach())
        mean = total / (len(x) // recipe.batch)
        seconds = time.perf_counter() - start
        print(f"epoch {epoch + 1}: loss {mean:.4f}, {seconds:.0f} s", flush=True)
    network.eval()


@torch.no_grad()
def accuracy(network: nn.Module, x: Tensor, y: Tensor) -> float:
    """Return the share of images whose class is found."""
    network.eval()
    found = torch.cat([network(part.float()).argmax(1) for part in x.split(500)])
    return float((found == y).double().mean())


@dataclass
class _Model:
    """ONNX nodes and weights so far; each method returns the name of what it made."""

    nodes: list[onnx.NodeProto] = field(default_factory=list[onnx.NodeProto])
    weights: list[onnx.TensorProto] = field(default_factory=list[onnx.TensorProto])

    def weight(self, value: Tensor) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(value.detach().float().numpy(), name))
        return name

    def node(self, op: str, *inputs: str, **attributes: Any) -> str:  # noqa: ANN401 - ONNX's own
        name = f"{op.lower()}{len(self.nodes)}"
        self.nodes.append(
            helper.make_node(op, list(inputs), [f"{name}_out"], name=name, **attributes)
        )
        return f"{name}_out"

    def add(self, x: str, module: nn.Module) -> str:
        """Write a module that reads ``x``."""
        if isinstance(module, nn.Sequential):
            for part in module:
                x = self.add(x, part)
            return x
        if isinstance(module, Residual):
            ends = (1, 1) if module.stride > 1 else (0, 0)
            y = self.conv(x, module.first, ends)
            y = self.node("Relu", self.add(y, module.first_norm))
            y = self.add(self.conv(y, module.second), module.second_norm)
            return self.node("Relu", self.node("Add", y, self.add(x, module.shortcut)))
        if isinstance(module, nn.Conv2d):
            return self.conv(x, module)
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            parts = (module.weight, module.bias, module.running_mean, module.running_var)
            names = [self.weight(part) for part in parts]
            return self.node("BatchNormalization", x, *names, epsilon=module.eps)
        if isinstance(module, nn.Linear):
            names = [self.weight(p) for p in (module.weight, module.bias) if p is not None]
            return self.node("Gemm", x, *names, transB=1)
        if isinstance(module, nn.MaxPool2d):
            return self.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
        if isinstance(module, (nn.Dropout, nn.Identity)):
            return x
        plain = {nn.ReLU: "Relu", nn.Flatten: "Flatten", nn.AdaptiveAvgPool2d: "GlobalAveragePool"}
        return self.node(plain[type(module)], x)

    def conv(self, x: str, module: nn.Conv2d, ends: tuple[int, int] = (0, 0)) -> str:
        begins = [int(p) for p in module.padding]
        pads = [*begins, *(b + e for b, e in zip(begins, ends, strict=True))]
        names = [self.weight(p) for p in (module.weight, module.bias) if p is not None]
        return self.node("Conv", x, *names, pads=pads, strides=list(module.stride))


def export(network: nn.Sequential, shape: tuple[int, ...], path: Path) -> None:
    """Write a trained network as ONNX, batch norms and all."""
    held = _Model()
    last = held.add("x", network)
    held.nodes[-1].output[0] = "logits"
    ports = (
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *shape])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 10])],
    )
    graph = helper.make_graph(held.nodes, path.stem, *ports, held.weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)])
    model.ir_version = 8
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    print(f"wrote {path} ({last} is logits)")


def make_fashion(images: Path, out: Path, recipe: Recipe) -> None:
    """Train and export the network for Fashion-MNIST, and write its arrays."""
    x, y, test_x, test_y = (np.array(read_idx(images, name)) for name in _FILES)
    pixels = [(part[:, None] / 255).astype(np.float32) for part in (x, test_x)]
    labels = [part.astype(np.int64) for part in (y, test_y)]
    np.savez(out / "fashion_train.npz", x=pixels[0], y=labels[0])
    np.savez(out / "fashion_calib.npz", x=pixels[0][:_CALIBRATION])
    np.savez(out / "fashion_test.npz", x=pixels[1], y=labels[1])
    torch.manual_seed(recipe.seed)
    network = fashion_vgg()
    train(network, torch.tensor(pixels[0]), torch.tensor(labels[0]), recipe)
    found = accuracy(network, torch.tensor(pixels[1]), torch.tensor(labels[1]))
    print(f"fashion_vgg: {found:.2%} of {len(test_y):,} test images")
    export(network, (1, 28, 28), out / "fashion_vgg.onnx")


def make_cifar(model: Path, data: tuple[Path, Path], out: Path, recipe: Recipe) -> None:
    """Train MLPerf Tiny's ResNet-8 further, and export it."""
    train_x, train_y, test_x, test_y = (
        torch.tensor(held[name]) for held in map(np.load, data) for name in ("x", "y")
    )
    network = resnet8()
    read_weights(network, model)
    print(f"before: {accuracy(network, test_x, test_y):.2%} of {len(test_y):,} test images")
    train(network, train_x, train_y, recipe)
    print(f"cifar_resnet8: {accuracy(network, test_x, test_y):.2%}")
    export(network, (3, 32, 32), out / "cifar_resnet8.onnx")


def main() -> None:
    """Train one network."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--epochs", type=int, help="default: 15 for fashion, 10 for cifar")
    parser.add_argument("--rate", type=float, help="default: 0.1 for fashion, 0.02 for cifar")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    kinds = parser.add_subparsers(dest="kind", required=True)
    fashion = kinds.add_parser("fashion")
    fashion.add_argument("images", type=Path)
    cifar = kinds.add_parser("cifar")
    for name in ("model", "train", "test"):
        cifar.add_argument(name, type=Path)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    chosen.out.mkdir(parents=True, exist_ok=True)
    if chosen.kind == "fashion":
        recipe = Recipe(chosen.epochs or 15, chosen.rate or 0.1, shift=2)
        make_fashion(chosen.images, chosen.out, recipe)
    else:
        recipe = Recipe(chosen.epochs or 10, chosen.rate or 0.02, shift=4)
        make_cifar(chosen.model, (chosen.train, chosen.test), chosen.out, recipe)


if __name__ == "__main__":
    main()
