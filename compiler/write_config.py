"""Spell settings as a ``lowbitc.toml`` that a person can read and edit, and read_config reads."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from lowbitc.compiler.bits import LayerBits
    from lowbitc.compiler.config import Config
    from lowbitc.compiler.datasets.preprocess import Preprocess

_NO_REMARKS: Mapping[str, str] = {}


def spell_config(
    config: Config, header: Sequence[str] = (), remarks: Mapping[str, str] = _NO_REMARKS
) -> str:
    """Return the text of a ``lowbitc.toml`` that read_config reads back to ``config``.

    ``header`` are lines of comment at the top; ``remarks`` say something about an entry of
    ``[[layer]]``, by its ``match``. What the configuration leaves open is left out.
    """
    blocks = [[_comment(line) for line in header], list(_top(config))]
    if config.preprocess is not None:
        blocks.append(list(_preprocess(config.preprocess)))
    blocks += [list(_layer(layer, remarks.get(layer.match, ""))) for layer in config.layers]
    return "\n".join("".join(f"{line}\n" for line in block) for block in blocks if block)


def _comment(line: str) -> str:
    """Make a comment of one line; control characters, which TOML forbids there, become spaces."""
    return f"# {''.join(c if c.isprintable() else ' ' for c in line)}".rstrip()


def _top(config: Config) -> Iterator[str]:
    for key in ("bits", "target", "calib", "limit", "clip", "weights", "offload", "mode"):
        value: str | int | None = getattr(config, key)
        if value is not None:
            yield f"{key} = {_text(value) if isinstance(value, str) else value}"
    for key, texts in (("shape", config.shapes), ("state", config.states)):
        if texts:
            yield f"{key} = [{', '.join(map(_text, texts))}]"


def _preprocess(held: Preprocess) -> Iterator[str]:
    yield "[preprocess]"
    yield f"size = {_numbers(held.size)}"
    yield f"resize = {held.resize}"
    yield f"color = {_text(held.color)}"
    yield f"layout = {_text(held.layout)}"
    yield f"mean = {_numbers(held.mean)}"
    yield f"scale = {_numbers(held.scale)}"


def _layer(layer: LayerBits, remark: str) -> Iterator[str]:
    yield from (_comment(line) for line in remark.splitlines())
    yield "[[layer]]"
    yield f"match = {_text(layer.match)}"
    if layer.weights is not None:
        yield f"weights = {layer.weights}"
    if layer.activations is not None:
        yield f"activations = {layer.activations}"
    if layer.on_host:
        yield "host = true"


def _text(value: str) -> str:
    """Spell a basic string of TOML: as JSON does, but that DEL is escaped too."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _numbers(values: Sequence[float]) -> str:
    return f"[{', '.join(repr(value) for value in values)}]"
