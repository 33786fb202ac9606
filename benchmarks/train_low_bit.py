"""Train the Fashion-MNIST network from scratch in arithmetics of few bits.

    python benchmarks/train_low_bit.py IMAGES [--images N] [--epochs N] [--seeds N] [--json FILE]

IMAGES is the folder of the four idx files. Every row has the same network, images, order of images
and schedule; the rows "without" show what a part of an arithmetic is for. Rows that FILE holds are
not trained again. Needs PyTorch.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from pathlib import Path

import numpy as np
import torch
from float_networks import accuracy, augment, batches, fashion_vgg, read_idx
from torch import Tensor, nn
from torch.nn import functional

from lowbitc.training.arithmetic import Arithmetic, Settings, round_updates
from lowbitc.training.convert import convert
from lowbitc.training.modules import LowBitLayer

_BATCH = 128
_MOMENTUM, _DECAY, _SHIFT = 0.9, 5e-4, 2
_FILES = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")

ROWS: dict[str, Settings] = {
    "float": Settings(),
    "fp8": Settings(Arithmetic.FP8),
    "fp4": Settings(Arithmetic.FP4),
    "luq": Settings(Arithmetic.LUQ),
    "fp4 without GradScale": Settings(Arithmetic.FP4, scale=0),
    "fp4 without a scale": Settings(Arithmetic.FP4, scale=6),
    "fp4 without two phases": Settings(Arithmetic.FP4, two_phase=False),
    "fp8 without chunks": Settings(Arithmetic.FP8, chunk=0),
}
"""A scale of 0 is found on the first batch (``fixed_scale``); 2^6 is FP4's largest code, 4^3."""


@dataclasses.dataclass(frozen=True)
class Data:
    """Images of 0 … 1 and labels, to train on and to test."""

    x: Tensor
    y: Tensor
    test_x: Tensor
    test_y: Tensor


@dataclasses.dataclass(frozen=True)
class Recipe:
    """The schedule of every row."""

    epochs: int
    rate: float
    clip_rate: float


def read(folder: Path, count: int) -> Data:
    """Read the first ``count`` images to train on, and all to test."""
    x, y, test_x, test_y = (np.array(read_idx(folder, name)) for name in _FILES)
    pixels = [torch.tensor(part[:, None] / 255).float() for part in (x[:count], test_x)]
    return Data(pixels[0], torch.tensor(y[:count]).long(), pixels[1], torch.tensor(test_y).long())


def fixed_scale(data: Data, seed: int) -> int:
    """Return the least exponent that clips no gradient of the first batch in any layer."""
    settings = Settings(Arithmetic.FP4, seed)
    network = make(settings, data)
    functional.cross_entropy(network(data.x[:_BATCH]), data.y[:_BATCH]).backward()
    layers = (m for m in network.modules() if isinstance(m, LowBitLayer))
    return max(int(layer.operands.gradients.exponent) for layer in layers)


def make(settings: Settings, data: Data) -> nn.Module:
    """Return the network, the same in every row before it is converted."""
    torch.manual_seed(settings.seed)
    network = fashion_vgg()
    if settings.arithmetic is Arithmetic.FLOAT:
        return network
    return convert(network, settings, data.x[:_BATCH])


def optimize(
    network: nn.Module, recipe: Recipe, steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """Return gradient descent with momentum, one cycle; clips have a rate of their own."""
    clips = [p for name, p in network.named_parameters() if name.endswith("inputs.factor")]
    known = {id(p) for p in clips}
    others = [p for p in network.parameters() if p.requires_grad and id(p) not in known]
    groups = [{"params": others, "lr": recipe.rate, "weight_decay": _DECAY}]
    groups += [{"params": clips, "lr": recipe.clip_rate, "weight_decay": 0.0}] if clips else []
    optimizer = torch.optim.SGD(groups, recipe.rate, _MOMENTUM, nesterov=True)
    rates = [group["lr"] for group in groups]
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, rates, steps, pct_start=0.25)
    return optimizer, cycle


def last_epoch(losses: list[float], data: Data) -> float:
    """Return the mean of the last epoch's losses."""
    recent = losses[-(len(data.x) // _BATCH) :]
    return sum(recent) / len(recent)


def train(settings: Settings, data: Data, recipe: Recipe) -> dict[str, object]:
    """Train and test one row."""
    if settings.scale == 0:
        settings = dataclasses.replace(settings, scale=fixed_scale(data, settings.seed))
    network = make(settings, data)
    random = torch.Generator().manual_seed(settings.seed)
    steps = recipe.epochs * (len(data.x) // _BATCH)
    optimizer, cycle = optimize(network, recipe, steps)
    losses: list[float] = []
    start = time.process_time()
    network.train()
    for epoch in range(recipe.epochs):
        for rows in batches(len(data.x), _BATCH, random):
            images = augment(data.x[rows], _SHIFT, random)
            loss = functional.cross_entropy(network(images), data.y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if settings.arithmetic is Arithmetic.FP8:
                round_updates(network.parameters(), settings.seed, len(losses))
            cycle.step()
            losses.append(float(loss.detach()))
        print(f"  epoch {epoch + 1}: loss {last_epoch(losses, data):.4f}", flush=True)
    seconds = time.process_time() - start
    return {
        "accuracy": accuracy(network, data.test_x, data.test_y),
        "loss": last_epoch(losses, data),
        "cpu_seconds": round(seconds, 1),
        "scale": settings.scale,
    }


def main() -> None:
    """Train every row with every seed."""
    parser = argparse.ArgumentParser(description="Train in arithmetics of few bits.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=60_000)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--rate", type=float, default=0.1)
    parser.add_argument("--clip-rate", type=float, default=0.01)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--rows", default=",".join(ROWS), help="some of them, by comma")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    data = read(chosen.folder, chosen.images)
    recipe = Recipe(chosen.epochs, chosen.rate, chosen.clip_rate)
    setting = {"images": len(data.x), **dataclasses.asdict(recipe)}
    found: dict[str, dict[str, object]] = {}
    if chosen.json is not None and chosen.json.exists():
        held = json.loads(chosen.json.read_text())
        if held["recipe"] != setting:
            raise SystemExit(f"{chosen.json} is of another recipe: {held['recipe']}")
        found = held["rows"]
    for seed in range(chosen.seeds):
        for row in chosen.rows.split(","):
            name = f"{row}, seed {seed}"
            if name not in found:
                print(name, flush=True)
                found[name] = train(dataclasses.replace(ROWS[row], seed=seed), data, recipe)
            print(f"{name}: {found[name]['accuracy']:.2%}", flush=True)
            if chosen.json is not None:
                chosen.json.write_text(json.dumps({"recipe": setting, "rows": found}, indent=2))


if __name__ == "__main__":
    main()
