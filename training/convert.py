"""Let the products of any torch network compute in an arithmetic of few bits.

    network = convert(network, Settings(Arithmetic.FP4), images)

Batch norms, activations and biases stay float. In FP8, ``round_updates`` rounds the weights after
each step of the optimizer.
"""

# pyright: reportUnknownMemberType=false
# torch leaves some of its own functions half typed.

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from lowbitc.compiler.diagnostics import error, raise_errors
from lowbitc.compiler.elements import I4, U4
from lowbitc.compiler.ir.types import Clip
from lowbitc.compiler.statistics.clips import clip_mse
from lowbitc.compiler.statistics.histogram import HistogramAccumulator
from lowbitc.training.arithmetic import Arithmetic, Settings, choose_formats
from lowbitc.training.modules import CONVOLUTIONS, LowBitLayer, read_geometry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Hook = Callable[[nn.Module, tuple[Any, ...], dict[str, Any]], None]


def convert(network: nn.Module, settings: Settings, *sample: Tensor) -> nn.Module:
    """Let a network's convolutions and dense layers compute in an arithmetic; return it.

    ``sample`` is a batch of the network's inputs. A copy of the network runs it, which tells which
    layers are first and last, and what their inputs look like: clips start at the least squared
    error, and inputs that are negative get signed levels. The network itself is changed; layers
    that stay float stay as they are. Raises CompileError LB793 where there is nothing to convert,
    LB794 where a layer cannot be.
    """
    seen = _watch(copy.deepcopy(network), sample)
    if not seen:
        raise_errors(
            [
                error(
                    "LB793",
                    "there is nothing to train in few bits",
                    found=f"no layer with weights runs in {type(network).__name__}",
                    allowed="Conv1d to Conv3d, ConvTranspose1d to ConvTranspose3d, Linear",
                    hint="convert the network that holds such layers",
                )
            ]
        )
    layers = [network.get_submodule(name) for name in seen]
    formats = choose_formats([read_geometry(layer) for layer in layers], settings.arithmetic)
    for number, (name, layer) in enumerate(zip(seen, layers, strict=True)):
        if formats[number] is Arithmetic.FLOAT:
            continue
        low = LowBitLayer(layer, settings, formats[number], number, seen[name])
        if not name:
            return low
        network.set_submodule(name, low)
    return network


def _watch(network: nn.Module, sample: tuple[Tensor, ...]) -> dict[str, Clip]:
    """Run a network; return the names of its layers in the order of running, and their clips."""
    clips: dict[str, Clip] = {}

    def look(name: str, x: Tensor) -> None:
        if name not in clips:
            counted = HistogramAccumulator()
            counted.add(x.detach().cpu().float().numpy())
            histogram = counted.result()
            levels = U4 if histogram.minimum >= 0 else I4
            clips[name] = Clip(levels, clip_mse(histogram, levels).scale)

    for name, module in cast("Iterator[tuple[str, nn.Module]]", network.named_modules()):
        if isinstance(module, (nn.Linear, *CONVOLUTIONS)):
            module.register_forward_pre_hook(_hook(name, look), with_kwargs=True)
    with torch.no_grad(), torch.random.fork_rng():
        network(*sample)
    return clips


def _hook(name: str, look: Callable[[str, Tensor], None]) -> Hook:
    """Return a hook that shows the first input of a layer."""

    def run(_module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
        look(name, (*inputs, *named.values())[0])

    return run
