"""The network as a graph of boxes: layers on the chip, pieces on the CPU, and what flows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lowbitc.compiler.ir import quantized as q
from lowbitc.targets.program.program import HostStep

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lowbitc.cli.report.content import Content
    from lowbitc.compiler.ir.node import Node


@dataclass(frozen=True, slots=True)
class Box:
    """A box: ``layer`` is its index among the page's layers, or -1; ``kind`` says where it runs."""

    key: str
    label: str
    detail: str
    kind: str
    bits: int
    layer: int = -1


@dataclass(frozen=True, slots=True)
class Network:
    """Boxes in an order that runs, and edges between them by index."""

    boxes: tuple[Box, ...]
    edges: tuple[tuple[int, int], ...]


def network_of(content: Content) -> Network:
    """Return the graph of a program: moves of levels and borders are edges only."""
    builder = _Builder({layer.value: i for i, layer in enumerate(content.layers)}, content)
    program = content.program
    for port in program.inputs:
        builder.box(Box(port.name, port.name, "input", "port", 0), (), (port.name,))
    for index, step in enumerate(program.steps):
        if isinstance(step, HostStep):
            names = sorted({node.op for node in step.nodes})
            label = step.nodes[0].op if len(step.nodes) == 1 else f"{len(step.nodes)} nodes"
            detail = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")  # noqa: PLR2004
            box = Box(f"step {index}", label, f"CPU: {detail}", "cpu", 0)
            builder.box(box, tuple(p.name for p in step.inputs), step.outputs)
        else:
            for node in step.graph.nodes:
                builder.node(node, step.graph.constants)
    for port in program.outputs:
        builder.box(Box(f"{port.name} out", port.name, "output", "port", 0), (port.name,), ())
    return Network(tuple(builder.boxes), tuple(dict.fromkeys(builder.edges)))


class _Builder:
    """Collects boxes; ``maker`` says which box makes a value."""

    def __init__(self, layers: Mapping[str, int], content: Content) -> None:
        self.layers = layers
        self.content = content
        self.boxes: list[Box] = []
        self.edges: list[tuple[int, int]] = []
        self.maker: dict[str, int] = {}

    def box(self, box: Box, reads: tuple[str, ...], makes: tuple[str, ...]) -> None:
        index = len(self.boxes)
        self.boxes.append(box)
        self.edges += [(self.maker[v], index) for v in reads if v in self.maker]
        self.maker.update(dict.fromkeys(makes, index))

    def node(self, node: Node, constants: Mapping[str, object]) -> None:
        reads = tuple(v for v in node.inputs if v and v not in constants)
        number = self.layers.get(node.outputs[0])
        if number is None or isinstance(node, q.Quantize):
            # A border or a move: its output is where its input comes from.
            source = self.maker.get(reads[0]) if reads else None
            if source is not None:
                self.maker[node.outputs[0]] = source
            return
        layer = self.content.layers[number]
        weights = f"w{layer.weight_bits} · " if layer.weight_bits else ""
        # Sums that leave the chip have no width of their own: weights say how coarse they are.
        width = int("".join(c for c in layer.output if c.isdigit()) or 0)
        bits = layer.weight_bits or width
        detail = f"{node.op.removeprefix('Q')} · {weights}{layer.output}"
        self.box(Box(layer.key, layer.name, detail, "chip", bits, number), reads, node.outputs)
