"""The two pictures of the whole: the network's graph, and the chip's mesh."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lowbitc.cli.report.layering import lay_out
from lowbitc.cli.report.markup import Html, element, number
from lowbitc.cli.report.network import network_of
from lowbitc.cli.report.wording import share, shortened
from lowbitc.targets.placement.model import places

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from lowbitc.cli.report.content import Content
    from lowbitc.cli.report.layering import Layout
    from lowbitc.cli.report.network import Box
    from lowbitc.targets.placement.mesh import Mesh
    from lowbitc.targets.placement.model import NeuralProcessor

_WIDE, _HIGH = 204, 38
_GAP, _ROW = 18, 56
_MARGIN = 10
_NAME_LETTERS = 24
_DETAIL_LETTERS = 32
_CELL = 18
STEPS = 5
"""Shades of load."""


def draw_network(content: Content) -> Html:
    """Return the graph, every layer a link to what was measured of it."""
    network = network_of(content)
    layout = lay_out(len(network.boxes), network.edges)
    wide = (layout.right - layout.left) * (_WIDE + _GAP) + 2 * _MARGIN
    high = max(layout.ranks - 1, 0) * _ROW + _HIGH + 2 * _MARGIN
    edges = "".join(_edge(layout, route) for route in layout.routes)
    return element(
        "svg",
        element("path", class_="edge", d=edges),
        *(_box(box, layout, i, content) for i, box in enumerate(network.boxes)),
        class_="network",
        width=wide,
        height=high,
        view_box=f"0 0 {number(wide)} {number(high)}",
        role="group",
        aria_label=f"The network: {len(content.layers)} layers, from input to output",
    )


def _middle(layout: Layout, x: float) -> float:
    return _MARGIN + (x - layout.left) * (_WIDE + _GAP)


def _edge(layout: Layout, route: Sequence[tuple[float, int]]) -> str:
    """Return a smooth line from the lower side of a box to the upper side of another."""
    points = [(_middle(layout, x), _MARGIN + rank * _ROW) for x, rank in route]
    (x, y), *rest = points
    y += _HIGH
    spelled = f"M{number(x)} {number(y)}"
    for index, (to_x, to_y) in enumerate(rest):
        bend = (to_y - y) / 2
        spelled += (
            f"C{number(x)} {number(y + bend)} {number(to_x)} {number(to_y - bend)} "
            f"{number(to_x)} {number(to_y)}"
        )
        x, y = to_x, to_y
        if index < len(rest) - 1:
            # A dummy is as high as a box, and crossed straight down.
            y += _HIGH
            spelled += f"V{number(y)}"
    return spelled


def _box(box: Box, layout: Layout, index: int, content: Content) -> Html:
    left = _middle(layout, layout.x[index]) - _WIDE / 2
    top = _MARGIN + layout.rank[index] * _ROW
    bad = False
    if box.layer >= 0:
        compared = content.layers[box.layer].compared
        bad = compared is not None and compared.bad
    kind = f"b{box.bits}" if box.kind == "chip" else box.kind
    parts = (
        element("title", f"{box.label} ({box.detail})"),
        element("rect", x=left, y=top, width=_WIDE, height=_HIGH, rx=7),
        element("rect", class_="mark", x=left, y=top, width=5, height=_HIGH, rx=2) if bad else None,
        element(
            "text", shortened(box.label, _NAME_LETTERS), x=left + 11, y=top + 16, class_="name"
        ),
        element(
            "text", shortened(box.detail, _DETAIL_LETTERS), x=left + 11, y=top + 30, class_="detail"
        ),
    )
    classes = f"box {kind}{' bad' if bad else ''}"
    if box.layer < 0:
        return element("g", *parts, class_=classes)
    said = f"{box.label}, {box.detail}{', bad' if bad else ''}"
    return element(
        "a", *parts, class_=classes, href=f"#{box.key}", data_layer=box.key, aria_label=said
    )


def draw_mesh(content: Content, mesh: Mesh) -> Iterator[tuple[str, Html]]:
    """Yield, for each pass over the chip, its name and the mesh with its NPs by load.

    Load is that of the layer's work in cycles against the busiest NP, or, where nothing was
    simulated, the share of the NP's weight memory that is full.
    """
    placement = content.program.placement
    cycles = {x.name: x.cost.cycles for x in content.layers if x.cost is not None}
    keys = {layer.name: layer.key for layer in content.layers}
    most = max(cycles.values(), default=0.0)
    for step in placement.passes:
        held = placement.processors[slice(*step.processors)]
        cells = [_cell(p, _load(p, cycles, most, mesh), mesh, keys.get(p.layer, "")) for p in held]
        wide, high = mesh.width * _CELL + 2, mesh.height * _CELL + 2
        lines = "".join(f"M{1 + x * _CELL} 1v{mesh.height * _CELL}" for x in range(mesh.width + 1))
        lines += "".join(f"M1 {1 + y * _CELL}h{mesh.width * _CELL}" for y in range(mesh.height + 1))
        used, size = places(held), mesh.processors
        said = f"{used} of {size} NPs are in use, {share(used / size)}"
        name = f"Pass {step.index + 1}" if len(placement.passes) > 1 else "All layers at once"
        yield (
            f"{name}: {used} of {size} NPs",
            element(
                "svg",
                element("title", said),
                element("path", class_="grid", d=lines),
                *cells,
                class_="mesh",
                width=wide,
                height=high,
                view_box=f"0 0 {wide} {high}",
                role="img",
                aria_label=said,
            ),
        )


def _load(
    processor: NeuralProcessor, cycles: Mapping[str, float], most: float, mesh: Mesh
) -> float:
    if most:
        return cycles.get(processor.layer, 0.0) / most
    return (processor.weight_bytes + processor.stage_bytes) / mesh.memory.weight_bytes


def _cell(processor: NeuralProcessor, load: float, mesh: Mesh, key: str) -> Html:
    shade = min(STEPS - 1, int(load * STEPS))
    memory = (processor.weight_bytes + processor.stage_bytes) / mesh.memory.weight_bytes
    start, stop = processor.channels
    said = (
        f"NP ({processor.x}, {processor.y}): {processor.layer}, channels {start} to {stop - 1}; "
        f"load {share(load)}, weight memory {share(memory)}"
    )
    return element(
        "rect",
        x=1.5 + processor.x * _CELL,
        y=1.5 + processor.y * _CELL,
        width=_CELL - 1,
        height=_CELL - 1,
        class_=f"np l{shade}",
        data_layer=key or None,
        data_tip=said,
    )
