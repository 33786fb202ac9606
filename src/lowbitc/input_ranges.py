"""Whether the data that a program is measured on looks like what it was calibrated on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lowbitc.compiler.diagnostics import Diagnostic, error, warning
from lowbitc.compiler.ir.quantized import Quantize

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from lowbitc.compiler.elements import Array
    from lowbitc.targets.program.program import Program

_OTHER_OUTSIDE, _ODD_OUTSIDE = 0.05, 0.005
"""Shares of the values outside the levels: another range, and an odd one."""
_OTHER_USED, _ODD_USED = 1 / 16, 1 / 4
"""Shares of the range of levels that the largest value reaches."""


@dataclass(frozen=True, slots=True)
class InputRange:
    """Values of an input that levels stand for, and what the data had.

    ``low`` and ``high`` bound the levels; of ``values`` values, ``outside`` lay beyond by more
    than half a level; ``least`` and ``most`` are the extremes.
    """

    low: float
    high: float
    values: int = 0
    outside: int = 0
    least: float = 0.0
    most: float = 0.0

    @classmethod
    def together(cls, parts: Iterable[InputRange]) -> InputRange:
        """Return the range of all values of several."""
        held = list(parts)
        return cls(
            held[0].low,
            held[0].high,
            sum(p.values for p in held),
            sum(p.outside for p in held),
            min(p.least for p in held),
            max(p.most for p in held),
        )


def input_ranges(program: Program) -> dict[str, InputRange]:
    """Return what levels stand for, by the inputs of the model that enter the chip."""
    names = {port.name for port in program.inputs}
    found: dict[str, InputRange] = {}
    for launch in program.launches:
        for node in launch.graph.nodes:
            if not isinstance(node, Quantize) or node.inputs[0] not in names:
                continue
            held = launch.graph.tensor(node.outputs[0])
            if held.levels is not None and held.scale:
                low, high = (b * held.scale[0] for b in (held.levels.minimum, held.levels.maximum))
                found[node.inputs[0]] = InputRange(low, high)
    return found


def seen(ranges: Mapping[str, InputRange], inputs: Mapping[str, Array]) -> dict[str, InputRange]:
    """Return the ranges with what a batch had."""
    found: dict[str, InputRange] = {}
    for name, held in ranges.items():
        array = np.asarray(inputs[name], np.float32)
        # A level at the bound stands for values up to half a level beyond it.
        slack = (held.high - held.low) / 256
        outside = np.count_nonzero(array > held.high + slack)
        outside += np.count_nonzero(array < held.low - slack)
        found[name] = InputRange(
            held.low,
            held.high,
            array.size,
            int(outside),
            float(array.min(initial=0.0)),
            float(array.max(initial=0.0)),
        )
    return found


def odd_ranges(ranges: Mapping[str, InputRange]) -> Iterator[Diagnostic]:
    """Yield LB737 for inputs whose values are not those that the program was calibrated for."""
    for name, held in sorted(ranges.items()):
        outside = held.outside / held.values if held.values else 0.0
        reach = max(abs(held.low), abs(held.high))
        used = max(abs(held.least), abs(held.most)) / reach if reach else 1.0
        if outside <= _ODD_OUTSIDE and used >= _ODD_USED:
            continue
        make = error if outside > _OTHER_OUTSIDE or used < _OTHER_USED else warning
        yield make(
            "LB737",
            f"the values of {name} are not in the range that the program was calibrated for",
            found=f"values from {held.least:.4g} to {held.most:.4g}, {outside:.1%} outside",
            allowed=f"about {held.low:.4g} to {held.high:.4g}",
            hint="prepare evaluation data as calibration data was, or calibrate again; "
            "--accept-range measures all the same",
        )
