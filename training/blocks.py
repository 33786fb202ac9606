"""Parts of a network that are trained one after the other, as block reconstruction does (BRECQ)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lowbitc.training.network import QuantizedNetwork

_TOGETHER = 2
"""Weighted layers of a block where layers follow each other."""
_MOST = 8
"""Weighted layers behind which a block ends even where several values go on, under long skips."""


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive steps of a network, by their numbers.

    ``entries`` are the values that it reads and does not make, ``exits`` those that it makes and
    that are read behind it or leave the chip.
    """

    steps: range
    entries: tuple[str, ...]
    exits: tuple[str, ...]


def find_blocks(network: QuantizedNetwork) -> tuple[Block, ...]:
    """Cut a network where one value alone goes on.

    So a residual block stays whole. Where layers follow each other, two stand together, and the
    last, the classifier, alone.
    """
    weighted = [
        index in network.layer_at and network.layer_at[index].weighted
        for index in range(len(network.steps))
    ]
    parts = list(_smallest(network, weighted))
    counts = [sum(weighted[i] for i in part) for part in parts]
    last = max((i for i, count in enumerate(counts) if count), default=0)
    blocks: list[range] = []
    held = 0
    for number, (part, count) in enumerate(zip(parts, counts, strict=True)):
        begins = number == last or (held > 0 and held + count > _TOGETHER)
        if blocks and (number > last or not begins):
            blocks[-1] = range(blocks[-1].start, part.stop)
            held += count
        else:
            blocks.append(part)
            held = count
    return tuple(_block(network, steps) for steps in blocks)


def _smallest(network: QuantizedNetwork, weighted: list[bool]) -> Iterator[range]:
    """Yield the shortest runs of steps that hand one value on."""
    last = {v: index for index, step in enumerate(network.steps) for v in step.inputs}
    carried = set[str]()
    start = layers = 0
    for index, step in enumerate(network.steps):
        carried = {v for v in (*carried, *step.inputs, *step.outputs) if last.get(v, -1) > index}
        carried -= network.graph.constants.keys()
        layers += weighted[index]
        if len(carried) <= 1 or layers >= _MOST:
            yield range(start, index + 1)
            start, layers = index + 1, 0


def _block(network: QuantizedNetwork, steps: range) -> Block:
    inside = [network.steps[i] for i in steps]
    made = {v for step in inside for v in step.outputs}
    read = dict.fromkeys(v for step in inside for v in step.inputs)
    behind = {v for step in network.steps[steps.stop :] for v in step.inputs}
    return Block(
        steps,
        tuple(v for v in read if v not in made and v not in network.graph.constants),
        tuple(v for v in made if v in behind or v in network.results),
    )
