"""Say what of a model runs on a chip, and why the rest does not: without data, before training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lowbitc.assigning import assigning
from lowbitc.compiler.frontend import import_model
from lowbitc.compiler.ir.graph import Where, reads
from lowbitc.compiler.manager import PassManager
from lowbitc.compiler.work import held_params, node_macs
from lowbitc.options import settle
from lowbitc.passes.folding import FOLDING
from lowbitc.passes.islands import crossing_values
from lowbitc.passes.partition import launch_depths
from lowbitc.targets.registry import load_target
from lowbitc.targets.spec import operator_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import onnx

    from lowbitc.compiler.diagnostics import Diagnostic, Source
    from lowbitc.compiler.ir.graph import Graph


@dataclass(frozen=True, slots=True)
class CheckedNode:
    """A node of the folded network: where it runs, its work, and what keeps it off the chip.

    ``launch`` counts from 1; on the CPU it is the launches that have run before. ``macs`` are
    multiply-accumulates a sample, ``params`` elements of its constants. ``crossing_bytes`` enter
    the chip for it first, or leave it. ``reason`` is empty on the chip; ``findings`` are all the
    rules that the node breaks.
    """

    name: str
    op: str
    sources: tuple[Source, ...]
    on_chip: bool
    launch: int
    macs: int
    params: int
    crossing_bytes: int
    reason: str
    findings: tuple[Diagnostic, ...]


@dataclass(frozen=True, slots=True)
class Edge:
    """A value on its way from the node that makes it, or an input's "", to one that reads it."""

    maker: str
    reader: str
    value: str
    crosses: bool


@dataclass(frozen=True, slots=True)
class Check:
    """What a check found; ``diagnostics`` are those of reading and folding the model.

    ``params`` are all of the network's, ``chip_params`` those on the chip; what several nodes
    share counts once.
    """

    target: str
    nodes: tuple[CheckedNode, ...]
    edges: tuple[Edge, ...]
    params: int
    chip_params: int
    diagnostics: tuple[Diagnostic, ...]

    @property
    def launches(self) -> int:
        """Launches of the chip a sample: the fewest that any schedule can have."""
        return len({node.launch for node in self.nodes if node.on_chip})

    @property
    def crossing_bytes(self) -> int:
        """Bytes a sample that enter and leave the chip: one a level, four a sum."""
        return sum(node.crossing_bytes for node in self.nodes)

    @property
    def device(self) -> dict[str, float]:
        """The shares on the chip, launches and bytes crossing a sample, by the names of JSON."""
        return {
            "mac_share": self.mac_share,
            "param_share": self.param_share,
            "launches": self.launches,
            "crossing_bytes": self.crossing_bytes,
        }

    @property
    def mac_share(self) -> float:
        """Share of the multiply-accumulates that runs on the chip."""
        return _share([n.macs for n in self.nodes if n.on_chip], [n.macs for n in self.nodes])

    @property
    def param_share(self) -> float:
        """Share of the parameters that are held by the chip."""
        return self.chip_params / self.params if self.params else 0.0


def check(
    model: str | Path | onnx.ModelProto,
    *,
    target: str | None = None,
    config: str | Path | None = None,
    shapes: Sequence[str] = (),
    offload: str | None = None,
) -> Check:
    """Fold a model and hold every node against the rules of a chip.

    Raises CompileError with every reason why the model cannot be read.
    """
    options = settle(model, target=target, config=config, shapes=shapes, offload=offload)
    chip = load_target(options.target)
    imported = import_model(model, shapes=options.shapes)
    steps = (*FOLDING, assigning(chip, options.bits, options.offload))
    done = PassManager(steps).run(imported.graph)
    graph = done.graph
    broken = chip.findings(graph, options.bits)
    host = graph.host_reasons
    depths = launch_depths(graph, lambda n: Where.HOST if n.name in host else Where.DEVICE)
    crossing = _crossing_bytes(graph, depths)
    nodes = tuple(
        CheckedNode(
            name=node.name,
            op=operator_name(node),
            sources=node.sources,
            on_chip=node.name not in host,
            launch=depths[node.name],
            macs=node_macs(node, graph),
            params=held_params((node,), graph),
            crossing_bytes=crossing.get(node.name, 0),
            reason=host.get(node.name, ""),
            findings=broken.get(node.name, ()),
        )
        for node in graph.nodes
    )
    return Check(
        target=chip.name,
        nodes=nodes,
        edges=tuple(_edges(graph, depths)),
        params=held_params(graph.nodes, graph),
        chip_params=held_params((n for n in graph.nodes if n.name not in host), graph),
        diagnostics=(*imported.diagnostics, *done.diagnostics),
    )


def _crossing_bytes(graph: Graph, depths: Mapping[str, int]) -> dict[str, int]:
    """Return the bytes that cross by node: of what enters, the first reader in a launch."""
    host = graph.host_reasons
    found: dict[str, int] = {}
    for launch in sorted({depths[n.name] for n in graph.nodes if n.name not in host}):
        inside = [n for n in graph.nodes if n.name not in host and depths[n.name] == launch]
        for value, size in crossing_values(graph, inside, host).items():
            node = next(n for n in inside if value in (*n.outputs, *reads(n)))
            found[node.name] = found.get(node.name, 0) + size
    return found


def _edges(graph: Graph, depths: Mapping[str, int]) -> Iterator[Edge]:
    makers, host = graph.producers(), graph.host_reasons

    def place(name: str) -> int:
        return 0 if not name or name in host else depths[name]

    for node in graph.nodes:
        for value in dict.fromkeys(reads(node)):
            if value not in graph.constants:
                maker = makers[value].name if value in makers else ""
                yield Edge(maker, node.name, value, place(maker) != place(node.name))


def _share(part: list[int], whole: list[int]) -> float:
    return sum(part) / sum(whole) if sum(whole) else 0.0
