"""What a user may ask of a compilation, settled from arguments, lowbitc.toml and defaults."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lowbitc.compiler.config import FILE_NAME, Config, read_config
from lowbitc.compiler.diagnostics import CompileError, Diagnostic, error
from lowbitc.compiler.states import State, parse_states
from lowbitc.passes import bin_weights
from lowbitc.passes.plan_levels import CLIP_METHODS
from lowbitc.targets.placement.mesh import MODES
from lowbitc.targets.registry import load_target

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import onnx

    from lowbitc.compiler.bits import Bits
    from lowbitc.compiler.datasets.opening import DataSource
    from lowbitc.compiler.datasets.preprocess import Preprocess

    Model = str | Path | onnx.ModelProto

DEFAULT_TARGET = "lb1"
NEAREST = "mse"
"""Weights are rounded to the nearest level, at the scale of least squared error."""
FEEDBACK = "feedback"
"""Weights are rounded layer by layer with error feedback, toward the float network's outputs."""
WEIGHT_METHODS = (*bin_weights.METHODS, FEEDBACK)
PAYING, ALL = "paying", "all"
OFFLOADS = (PAYING, ALL)
"""What of that which the chip can run it does run: launches that pay for themselves, or all."""
_FULL = 8
DEFAULT_NEURONS = 20
"""Neurons of a class of a layer that learns, when nothing else is asked for."""
DEFAULT_LIMIT = 512
"""Most calibration samples that are looked at when nothing else is asked for."""


@dataclass(frozen=True, slots=True)
class Options:
    """Settled options. ``calib`` is None for a calibration without data."""

    bits: Bits
    target: str
    calib: DataSource | None
    preprocess: Preprocess | None
    shapes: Mapping[str, tuple[int | None, ...]]
    clip: str
    weights: str
    mode: str
    limit: int
    threads: int
    offload: str = PAYING
    states: tuple[State, ...] = ()
    learn: Learn | None = None


@dataclass(frozen=True, slots=True)
class Learn:
    """A layer that learns on the chip: so many classes, so many neurons for each."""

    classes: int
    neurons: int

    def __str__(self) -> str:
        """Spell as the command line does."""
        return f"{self.classes}:{self.neurons}"


def settle(  # noqa: PLR0913 - one a setting
    model: Model | None,
    *,
    calib: DataSource | None = None,
    bits: str | None = None,
    target: str | None = None,
    config: str | Path | None = None,
    shapes: Sequence[str] = (),
    clip: str | None = None,
    weights: str | None = None,
    mode: str | None = None,
    limit: int | None = None,
    threads: int = 0,
    search: bool = False,
    offload: str | None = None,
    states: Sequence[str] = (),
    learn: str | None = None,
) -> Options:
    """Take arguments first, then ``lowbitc.toml``, then defaults.

    For a ``search`` the bits are the most that the target holds: of the file's layers, those kept
    on the CPU count. Beside a model's file, ``lowbitc.toml`` and ``MODEL.calib.npz`` are used when
    they are there.
    Raises CompileError LB299, LB730, or LB285 and LB731 with all that is wrong.
    """
    file = Path(model) if isinstance(model, (str, Path)) else None
    path = config_beside(file) if config is None else Path(config)
    held = read_config(path) if path is not None else Config()
    source = calib
    if source is None and held.calib is not None and path is not None:
        source = path.parent / held.calib if ":" not in held.calib else held.calib
    if source is None and file is not None:
        own = file.with_suffix(".calib.npz")
        source = own if own.exists() else None
    found: list[Diagnostic] = []
    chosen_clip = clip or held.clip or "mse"
    chip = load_target(target or held.target or DEFAULT_TARGET)
    settled_bits = held.bits_or(bits, chip.default_bits)
    if search:
        on_host = tuple(layer for layer in held.layers if layer.on_host)
        settled_bits = dataclasses.replace(chip.widest, layers=on_host)
    found += chip.unheld(settled_bits)
    settled_bits = dataclasses.replace(settled_bits, unclipped=chip.unclipped_bits)
    # Error feedback pays below 8 bits.
    few = search or below_full(settled_bits)
    asked_weights = weights or held.weights
    chosen_weights = asked_weights or (FEEDBACK if few else NEAREST)
    found += _one_of("clip", chosen_clip, CLIP_METHODS)
    found += _one_of("weights", chosen_weights, WEIGHT_METHODS)
    chosen_offload = offload or held.offload or PAYING
    found += _one_of("offload", chosen_offload, OFFLOADS)
    chosen_mode = mode or held.mode or MODES[0]
    found += _one_of("mode", chosen_mode, MODES)
    if asked_weights == FEEDBACK and source is None:
        found.append(
            error(
                "LB731",
                "rounding weights with error feedback needs calibration data",
                found="no data",
                allowed="weights mse or sawb without data",
                hint="give samples with --calib",
            )
        )
    if found:
        raise CompileError(found)
    return Options(
        bits=settled_bits,
        target=chip.name,
        calib=source,
        preprocess=held.preprocess,
        shapes=parse_shapes([*held.shapes, *shapes]),
        clip=chosen_clip,
        weights=chosen_weights,
        mode=chosen_mode,
        limit=limit or held.limit or DEFAULT_LIMIT,
        threads=threads,
        offload=chosen_offload,
        states=parse_states(states or held.states),
        learn=None if learn is None else parse_learn(learn),
    )


def parse_learn(text: str) -> Learn:
    """Read ``10:20``, classes and neurons for each; or ``10``, with the usual number of neurons.

    Raises CompileError LB552 when it is not spelled like that.
    """
    classes, mark, neurons = text.partition(":")
    neurons = neurons if mark else str(DEFAULT_NEURONS)
    if not all(part.isdecimal() and int(part) > 0 for part in (classes, neurons)):
        problem = error(
            "LB552",
            "the layer that learns is not spelled CLASSES[:NEURONS]",
            found=repr(text),
            allowed="whole numbers from 1",
            hint="for example --learn 10:20",
        )
        raise CompileError([problem])
    return Learn(int(classes), int(neurons))


def config_beside(model: Path | None) -> Path | None:
    """Return the ``lowbitc.toml`` that lies beside a model, if one does."""
    beside = model.parent / FILE_NAME if model is not None else None
    return beside if beside is not None and beside.exists() else None


def below_full(bits: Bits) -> bool:
    """Whether anything has fewer than 8 bits."""
    widths = (bits.first, bits.weights, bits.activations, *(w.weights for w in bits.layers))
    return any(width is not None and width < _FULL for width in widths)


def parse_shapes(spelled: Iterable[str]) -> dict[str, tuple[int | None, ...]]:
    """Read ``x=N,3,224,224``: names stand for the batch, which is bound to 1.

    Raises CompileError LB731 when one is not spelled like that.
    """
    shapes: dict[str, tuple[int | None, ...]] = {}
    for text in spelled:
        name, mark, dims = text.partition("=")
        parts = [p.strip() for p in dims.split(",")] if dims else []
        if not mark or not name or not parts or any(not _is_dim(p) for p in parts):
            raise CompileError(
                [
                    error(
                        "LB731",
                        "a shape is not spelled NAME=D,D,…",
                        found=repr(text),
                        allowed="whole numbers from 1, or a name for the batch dimension",
                        hint="for example --shape x=N,3,224,224",
                    )
                ]
            )
        shapes[name.strip()] = tuple(int(p) if p.isdecimal() else None for p in parts)
    return shapes


def _is_dim(text: str) -> bool:
    return text.isidentifier() or (text.isdecimal() and int(text) > 0)


def _one_of(name: str, value: str, allowed: Sequence[str]) -> Iterable[Diagnostic]:
    if value not in allowed:
        yield error("LB731", f"unknown {name}", found=value, allowed=", ".join(allowed))
