"""Say what of a model runs on a chip, and why the rest does not: without data, before training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lowbitc.assigning import assigning
from lowbitc.compiler.frontend import import_model
from lowbitc.compiler.manager import PassManager
from lowbitc.compiler.work import held_params, node_macs
from lowbitc.options import settle
from lowbitc.passes.folding import FOLDING
from lowbitc.targets.registry import load_target
from lowbitc.targets.spec import operator_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx

    from lowbitc.compiler.diagnostics import Diagnostic, Source


@dataclass(frozen=True, slots=True)
class CheckedNode:
    """A node of the folded network: where it runs, its work, and what keeps it off the chip.

    ``macs`` are multiply-accumulates a sample, ``params`` elements of its constants. ``reason``
    is empty on the chip; ``findings`` are all the rules that the node breaks.
    """

    name: str
    op: str
    sources: tuple[Source, ...]
    on_chip: bool
    macs: int
    params: int
    reason: str
    findings: tuple[Diagnostic, ...]


@dataclass(frozen=True, slots=True)
class Check:
    """What a check found; ``diagnostics`` are those of reading and folding the model."""

    target: str
    nodes: tuple[CheckedNode, ...]
    diagnostics: tuple[Diagnostic, ...]

    @property
    def mac_share(self) -> float:
        """Share of the multiply-accumulates that runs on the chip."""
        return _share([n.macs for n in self.nodes if n.on_chip], [n.macs for n in self.nodes])

    @property
    def param_share(self) -> float:
        """Share of the parameters that are held by the chip."""
        return _share([n.params for n in self.nodes if n.on_chip], [n.params for n in self.nodes])


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
    path = Path(model) if isinstance(model, (str, Path)) else None
    settled = None if config is None else Path(config)
    options = settle(path, target=target, config=settled, shapes=shapes, offload=offload)
    chip = load_target(options.target)
    imported = import_model(model, shapes=options.shapes)
    steps = (*FOLDING, assigning(chip, options.bits, options.offload))
    done = PassManager(steps).run(imported.graph)
    graph = done.graph
    broken = chip.findings(graph)
    nodes = tuple(
        CheckedNode(
            name=node.name,
            op=operator_name(node),
            sources=node.sources,
            on_chip=node.name not in graph.host_reasons,
            macs=node_macs(node, graph),
            params=held_params((node,), graph),
            reason=graph.host_reasons.get(node.name, ""),
            findings=broken.get(node.name, ()),
        )
        for node in graph.nodes
    )
    return Check(chip.name, nodes, (*imported.diagnostics, *done.diagnostics))


def _share(part: list[int], whole: list[int]) -> float:
    return sum(part) / sum(whole) if sum(whole) else 0.0
