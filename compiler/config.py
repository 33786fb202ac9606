"""``lowbitc.toml``: settings that lie beside a model; every key is known or refused."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from lowbitc.compiler.bits import WIDTHS, Bits, LayerBits, parse_bits
from lowbitc.compiler.datasets.preprocess import COLORS, LAYOUTS, Preprocess
from lowbitc.compiler.diagnostics import CompileError, Diagnostic, error

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

FILE_NAME = "lowbitc.toml"
_SIDES = 2

_TOP = frozenset(
    {"bits", "target", "calib", "limit", "clip", "weights", "offload", "mode", "state"}
    | {"layer", "preprocess", "shape"}
)
_LAYER = frozenset({"match", "weights", "activations", "host"})
_PREPROCESS = frozenset({"size", "layout", "color", "mean", "scale", "resize"})


@dataclass(frozen=True, slots=True)
class Config:
    """What a ``lowbitc.toml`` says; None where it says nothing."""

    bits: str | None = None
    target: str | None = None
    calib: str | None = None
    limit: int | None = None
    clip: str | None = None
    weights: str | None = None
    offload: str | None = None
    mode: str | None = None
    layers: tuple[LayerBits, ...] = ()
    preprocess: Preprocess | None = None
    shapes: tuple[str, ...] = ()
    states: tuple[str, ...] = ()

    def bits_or(self, spelled: str | None, default: str) -> Bits:
        """Return the bits of the command line, else the file's, else the default's."""
        return parse_bits(spelled or self.bits or default, self.layers)


def read_config(path: Path) -> Config:
    """Read a ``lowbitc.toml``.

    Raises CompileError LB730 with every unknown key and unusable value.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as problem:
        raise CompileError([_wrong(path, "the file cannot be read", str(problem))]) from problem
    reader = _Reader(path)
    config = reader.config(table)
    if reader.findings:
        raise CompileError(reader.findings)
    return config


def _wrong(path: Path, what: str, found: str, allowed: str = "") -> Diagnostic:
    return error(
        "LB730", f"{path}: {what}", found=found, allowed=allowed, hint="see docs/configuration.md"
    )


class _Reader:
    """Reads one file, and collects what is wrong in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.findings: list[Diagnostic] = []

    def config(self, table: Mapping[str, object]) -> Config:
        self.known(table, _TOP, "")
        return Config(
            bits=self.text(table, "bits"),
            target=self.text(table, "target"),
            calib=self.text(table, "calib"),
            limit=self.count(table, "limit"),
            clip=self.text(table, "clip"),
            weights=self.text(table, "weights"),
            offload=self.text(table, "offload"),
            mode=self.text(table, "mode"),
            layers=tuple(self.layer(t) for t in self.tables(table, "layer")),
            preprocess=self.preprocess(table.get("preprocess")),
            shapes=tuple(self.texts(table, "shape")),
            states=tuple(self.texts(table, "state")),
        )

    def known(self, table: Mapping[str, object], keys: frozenset[str], where: str) -> None:
        for key in table:
            if key not in keys:
                self.refuse(f"unknown key {where}{key}", key, ", ".join(sorted(keys)))

    def refuse(self, what: str, found: object, allowed: str) -> None:
        self.findings.append(_wrong(self.path, what, str(found), allowed))

    def text(self, table: Mapping[str, object], key: str) -> str | None:
        value = table.get(key)
        if value is not None and not isinstance(value, str):
            self.refuse(f"{key} is no text", value, "text in quotes")
            return None
        return value

    def count(self, table: Mapping[str, object], key: str) -> int | None:
        value = table.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            self.refuse(f"{key} is no number of samples", value, "a whole number from 1")
            return None
        return value

    def texts(self, table: Mapping[str, object], key: str) -> list[str]:
        value = table.get(key, [])
        held = _listed(value)
        if not all(isinstance(v, str) for v in held):
            self.refuse(f"{key} is no list of texts", value, '["x=N,3,224,224"]')
            return []
        return [str(v) for v in held]

    def tables(self, table: Mapping[str, object], key: str) -> list[Mapping[str, object]]:
        value = table.get(key, [])
        held = _listed(value)
        if not all(isinstance(v, dict) for v in held):
            self.refuse(f"{key} is no list of tables", value, f"[[{key}]]")
            return []
        return [cast("Mapping[str, object]", v) for v in held]

    def layer(self, table: Mapping[str, object]) -> LayerBits:
        self.known(table, _LAYER, "layer.")
        match = self.text(table, "match")
        if match is None:
            self.refuse("a [[layer]] has no match", dict(table), 'match = "pattern"')
        host = table.get("host", False)
        if not isinstance(host, bool):
            self.refuse("layer.host is neither true nor false", host, "true or false")
        return LayerBits(
            match or "",
            self.width(table, "weights"),
            self.width(table, "activations"),
            on_host=host is True,
        )

    def width(self, table: Mapping[str, object], key: str) -> int | None:
        value = table.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or value not in WIDTHS:
            self.refuse(f"layer.{key} is no width", value, "1, 2, 4 or 8")
            return None
        return value

    def preprocess(self, value: object) -> Preprocess | None:
        if value is None:
            return None
        if not isinstance(value, dict):
            self.refuse("preprocess is no table", value, "[preprocess]")
            return None
        table = cast("Mapping[str, object]", value)
        self.known(table, _PREPROCESS, "preprocess.")
        size = self.numbers(table, "size", ())
        if len(size) != _SIDES:
            self.refuse("preprocess.size is no [height, width]", table.get("size"), "[224, 224]")
            size = (1.0, 1.0)
        layout = self.one_of(table, "layout", LAYOUTS)
        color = self.one_of(table, "color", COLORS, "rgb")
        resize = self.numbers(table, "resize", (0.0,))
        return Preprocess(
            size=(int(size[0]), int(size[1])),
            layout=layout,
            color=color,
            mean=self.numbers(table, "mean", (0.0,)),
            scale=self.numbers(table, "scale", (1.0,)),
            resize=int(resize[0]),
        )

    def one_of(
        self, table: Mapping[str, object], key: str, allowed: tuple[str, ...], default: str = ""
    ) -> str:
        value = self.text(table, key) or default or allowed[0]
        if value not in allowed:
            self.refuse(f"preprocess.{key} is unknown", value, ", ".join(allowed))
        return value

    def numbers(
        self, table: Mapping[str, object], key: str, default: tuple[float, ...]
    ) -> tuple[float, ...]:
        value = table.get(key)
        if value is None:
            return default
        held = _listed(value)
        if not all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in held):
            self.refuse(f"preprocess.{key} holds something else than numbers", value, "numbers")
            return default
        return tuple(float(cast("float", v)) for v in held)


def _listed(value: object) -> list[object]:
    """Return a list as it is, and anything else as a list of one."""
    return list(cast("Sequence[object]", value)) if isinstance(value, list) else [value]
