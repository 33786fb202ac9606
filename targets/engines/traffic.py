"""What every event costs, NP by NP: fixed when a launch is loaded, multiplied by counts later."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

from lowbitc.compiler.ir import quantized as q
from lowbitc.targets.engines.landings import landings
from lowbitc.targets.engines.nonzeros import Nonzeros, count_nonzeros
from lowbitc.targets.engines.work import Entry, Operand, Share, Widths, Work
from lowbitc.targets.placement.layer import describe_layer, element_of
from lowbitc.targets.placement.model import EXTERNAL
from lowbitc.targets.placement.reads import (
    MOVERS,
    made_box,
    operands,
    read_box,
    size_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from lowbitc.compiler.elements import Array, Int64
    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.compiler.ir.node import Node
    from lowbitc.targets.engines.events import Counts
    from lowbitc.targets.placement.layer import Layer
    from lowbitc.targets.placement.model import NeuralProcessor, Placement

_BYTE = 8
_WORD = 32


class Traffic:
    """The shares of a launch by layer, and what enters from outside."""

    def __init__(self, graph: Graph, placement: Placement) -> None:
        """Describe every NP that the launch has in a placement."""
        self.graph = graph
        held = placement.of_layer()
        self._pass = [0] * len(placement.processors)
        for step in placement.passes:
            self._pass[slice(*step.processors)] = [step.index] * (
                step.processors[1] - step.processors[0]
            )
        self._all = placement.processors
        self._nodes = {node.name: node for node in graph.nodes}
        self._makers = {value: node for node in graph.nodes for value in node.outputs}
        self.shares: dict[str, tuple[Share, ...]] = {}
        for node in graph.nodes:
            layer = describe_layer(node, graph) if node.name in held else None
            if layer is not None:
                self.shares[node.name] = tuple(
                    self._share(node, layer, processor) for processor in held[node.name]
                )
        self.entries = tuple(self._entries())

    @property
    def values(self) -> tuple[str, ...]:
        """The values whose events must be counted."""
        found = [op.value for shares in self.shares.values() for u in shares for op in u.operands]
        found += [u.output for shares in self.shares.values() for u in shares if u.made is not None]
        found += [part.value for entry in self.entries for part in entry.parts]
        return tuple(dict.fromkeys(found))

    def channel_starts(self, value: str) -> Int64:
        """Return the channels at which any box of a value begins; 0 is the first."""
        starts = {0}
        for share in itertools.chain.from_iterable(self.shares.values()):
            boxes = [op.box for op in share.operands if op.value == value]
            boxes += [share.made] if share.made is not None and share.output == value else []
            for box in boxes:
                starts.update(end for end in (box[0].start, box[0].stop) if end is not None)
        channels = self.graph.shape(value)[1]
        return np.asarray(sorted(s for s in starts if s < channels), np.int64)

    def reaches(self, maker: int, reader: int) -> bool:
        """Whether an NP's messages come to another one: by a route, or through outside memory."""
        routes = self._all[maker].routes
        if self._pass[maker] != self._pass[reader]:
            return (EXTERNAL, EXTERNAL) in routes
        return any(start <= reader < stop for start, stop in routes)

    def tally(self, found: Mapping[str, Nonzeros], samples: int, counts: Counts) -> None:
        """Add the counts of ``samples`` samples, from the nonzero levels of every value."""
        for name, shares in self.shares.items():
            layer = counts.of(name)
            for operand in operands(self._nodes[name], self.graph):
                layer.events += found[operand].total()
                layer.levels += self.graph.tensor(operand).size * samples
            for share in shares:
                events = [found[op.value].within(op.box) for op in share.operands]
                uses = [
                    found[op.value].within(op.box, op.taps) if op.taps else count
                    for op, count in zip(share.operands, events, strict=True)
                ]
                if share.made is not None:
                    made = found[share.output].within(share.made)
                else:
                    made = sum(events) if share.finishes else 0
                work = Work(sum(events), sum(uses), made)
                share.book(work, samples, layer.of(share.processor.index))

        self.enter(lambda part: found[part.value].within(part.box), samples, counts)

    def enter(self, events: Callable[[Operand], int], samples: int, counts: Counts) -> None:
        """Add the hops of what comes from outside; ``events`` counts those of a box of a value."""
        for entry in self.entries:
            messages = sum(events(part) for part in entry.parts) + entry.sums * samples
            counts.of(entry.layer).of(entry.processor).hops += messages * entry.hops

    # --- shares -----------------------------------------------------------------------------------

    def _share(self, node: Node, layer: Layer, processor: NeuralProcessor) -> Share:
        graph, output = self.graph, node.outputs[0]
        finishes = processor.inputs[1] == layer.inputs
        moves = isinstance(node, MOVERS)
        made = None if moves or not finishes else made_box(node, graph, layer, processor)
        box = made
        if box is None:
            box = (
                read_box(node, graph, layer, processor, 0)
                if moves
                else made_box(node, graph, layer, processor)
            )
        shape = graph.shape(node.inputs[0] if moves else output)
        taps = self._taps(node, layer, processor)
        channels = processor.channels[1] - processor.channels[0]
        fan_out = 0 if isinstance(node, (*MOVERS, q.QConcat)) else 1
        if layer.weight is not None:
            fan_out = min(channels, layer.outputs_per_group)
        return Share(
            processor,
            node.name,
            tuple(
                Operand(value, read_box(node, graph, layer, processor, index), taps)
                for index, value in enumerate(operands(node, graph))
            ),
            output,
            made,
            finishes,
            processor.columns != (0, layer.columns.outputs),
            size_of(box, shape),
            fan_out,
            _widths(node, graph, layer, finishes=finishes),
            self._message_hops(processor),
        )

    def _taps(self, node: Node, layer: Layer, processor: NeuralProcessor) -> tuple[Int64, ...]:
        found = [np.count_nonzero(table >= 0, axis=0) for table in landings(node, self.graph)]
        if found and processor.columns != (0, layer.columns.outputs):
            columns = landings(node, self.graph)[-1]
            start, stop = processor.columns
            found[-1] = np.count_nonzero((columns >= start) & (columns < stop), axis=0)
        return tuple(np.asarray(vector, np.int64) for vector in found)

    def _message_hops(self, processor: NeuralProcessor) -> int:
        hops = 0
        for start, stop in processor.routes:
            if (start, stop) == (EXTERNAL, EXTERNAL):
                hops += _to_border(processor)
            else:
                hops += _chain((processor, *self._all[start:stop]))
        return hops

    # --- what comes from outside -----------------------------------------------------------------

    def _entries(self) -> Iterator[Entry]:
        for name, shares in self.shares.items():
            node = self._nodes[name]
            by_pass: dict[int, list[NeuralProcessor]] = {}
            for share in shares:
                by_pass.setdefault(self._pass[share.processor.index], []).append(share.processor)
            for number, processors in by_pass.items():
                first = processors[0]
                hops = _to_border(first) + _chain(processors)
                for value in operands(node, self.graph):
                    parts = tuple(self._outside(value, number))
                    if parts:
                        yield Entry(name, first.index, hops, parts)
            for before, share in itertools.pairwise(shares):
                index = share.processor.index
                if not before.finishes and self._pass[index] != self._pass[index - 1]:
                    yield Entry(name, index, _to_border(share.processor), sums=before.outputs)

    def _outside(self, value: str, number: int) -> Iterator[Operand]:
        """Yield what of a value is not made by NPs of pass ``number``, as it was made."""
        source = value
        while True:
            maker = self._makers.get(source)
            if maker is None or maker.name in self.shares or isinstance(maker, q.Quantize):
                break
            source = maker.inputs[0]
        shares = self.shares.get(maker.name, ()) if maker is not None else ()
        if not shares:
            yield Operand(source, (slice(None),) * (len(self.graph.shape(source)) - 1))
        for share in shares:
            if share.finishes and self._pass[share.processor.index] != number:
                if share.made is not None:
                    yield Operand(share.output, share.made)
                else:
                    yield share.operands[0]


def _to_border(processor: NeuralProcessor) -> int:
    """Return the links from outside, which is next to the NP at 0, 0, to an NP."""
    return 1 + processor.x + processor.y


def _chain(processors: Sequence[NeuralProcessor]) -> int:
    """Return the links of a message that is passed on from NP to NP."""
    return sum(abs(a.x - b.x) + abs(a.y - b.y) for a, b in itertools.pairwise(processors))


def _stage_bits(node: Node, graph: Graph, layer: Layer) -> int:
    """Return the bits that an output stage reads to make one level."""
    if not isinstance(node, q.StagedNode):
        return 0
    if node.stage is q.Stage.THRESHOLDS:
        # A search among 2^b − 1 ascending thresholds looks at b of them.
        bits = _WORD * (node.middle or element_of(graph, node.outputs[0])).bits
    else:
        bits = _BYTE * layer.stage_bytes
    return bits + _BYTE * node.table


def _widths(node: Node, graph: Graph, layer: Layer, *, finishes: bool) -> Widths:
    level = element_of(graph, node.inputs[0]).bits
    output = _stage_bits(node, graph, layer) if finishes else 0
    if layer.weight is not None:
        return Widths(
            write_event=level,
            read_use=level,
            read_operation=layer.weight.bits,
            read_output=output,
        )
    if isinstance(node, (q.QMaxPool, q.QAveragePool)):
        held = layer.input_bits
        return Widths(read_use=held, write_use=held, read_output=output)
    if isinstance(node, q.QTable):
        return Widths(read_event=_BYTE)
    return Widths(write_event=level, read_event=level)


class Tally:
    """Counts a launch's values as they are seen, and adds all up at the end."""

    def __init__(self, traffic: Traffic, samples: int, counts: Counts) -> None:
        """Count ``samples`` samples into ``counts``."""
        self.found: dict[str, Nonzeros] = {}
        self._traffic = traffic
        self._samples = samples
        self._counts = counts
        self._wanted = frozenset(traffic.values)

    def see_all(self, values: Mapping[str, Array]) -> None:
        """Count values, but those that nobody asks for or that were counted."""
        for value, levels in values.items():
            if value in self._wanted and value not in self.found:
                self.found[value] = count_nonzeros(levels)

    def close(self) -> None:
        """Add up what was seen."""
        self._traffic.tally(self.found, self._samples, self._counts)
