"""How many bits each layer's weights and activations get: ``--bits a/b/c`` and overrides."""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lowbitc.compiler.diagnostics import CompileError, Diagnostic, error

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from lowbitc.compiler.ir.node import Node

WIDTHS = (1, 2, 4, 8)
_FIELDS = 3


@dataclass(frozen=True, slots=True)
class LayerBits:
    """What one pattern asks for; None leaves the network's setting.

    ``match`` is a shell pattern on a layer's name or on the name of an ONNX node it came from.
    ``on_host`` keeps the layer on the CPU.
    """

    match: str
    weights: int | None = None
    activations: int | None = None
    on_host: bool = False

    def fits(self, node: Node) -> bool:
        """Whether the pattern names this node."""
        names = {node.name, *(s.node for s in node.sources)}
        return any(fnmatch.fnmatchcase(name, self.match) for name in names)


@dataclass(frozen=True, slots=True)
class Bits:
    """Bits of a network: weights of the first layers / of the others / activations.

    ``unclipped`` are those of levels that no clip bounds: what later layers read from the CPU,
    and means. It is the target's; below 8, the target's rules keep such values from being
    negative.
    """

    first: int = 8
    weights: int = 8
    activations: int = 8
    layers: tuple[LayerBits, ...] = ()
    unclipped: int = 8

    def __str__(self) -> str:
        """Spell as the command line does."""
        return f"{self.first}/{self.weights}/{self.activations}"

    def weight_bits(self, node: Node, *, first: bool) -> int:
        """Return the width of a layer's weights; the last pattern that fits wins."""
        width = self.first if first else self.weights
        for layer in self.layers:
            if layer.weights is not None and layer.fits(node):
                width = layer.weights
        return width

    def activation_bits(self, node: Node) -> int:
        """Return the width of the levels that a layer puts out behind a clip."""
        width = self.activations
        for layer in self.layers:
            if layer.activations is not None and layer.fits(node):
                width = layer.activations
        return width

    def unmatched(self, nodes: Iterable[Node]) -> Iterator[Diagnostic]:
        """Yield an error for every pattern that names no node."""
        held = tuple(nodes)
        for layer in self.layers:
            if not any(layer.fits(node) for node in held):
                yield error(
                    "LB402",
                    f"the pattern {layer.match!r} matches no layer",
                    found=f"{len(held)} layers, such as {', '.join(n.name for n in held[:4])}",
                    hint="see the names with `lowbitc check MODEL.onnx`",
                )


def parse_bits(text: str, layers: tuple[LayerBits, ...] = ()) -> Bits:
    """Read ``8/4/4``.

    Raises CompileError LB401 when it is not three widths out of 1, 2, 4 and 8.
    """
    parts = text.split("/")
    numbers = [int(p) for p in parts if p.strip().isdecimal()]
    if len(parts) != _FIELDS or len(numbers) != _FIELDS or any(n not in WIDTHS for n in numbers):
        raise CompileError(
            [
                error(
                    "LB401",
                    "the bits are not spelled a/b/c",
                    found=repr(text),
                    allowed="three of 1, 2, 4, 8: first layer's weights/other weights/activations",
                    hint="for example --bits 8/4/4",
                )
            ]
        )
    first, weights, activations = numbers
    return Bits(first, weights, activations, layers)
