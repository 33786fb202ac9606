"""Turn a comparison into a lowbitc.toml, and measure what it buys."""

from __future__ import annotations

import glob
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from lowbitc.comparing import compare
from lowbitc.compilation import compile_with, silent
from lowbitc.compiler.bits import WIDTHS, LayerBits, parse_bits
from lowbitc.compiler.config import Config
from lowbitc.compiler.diagnostics import CompileError, error
from lowbitc.compiler.replace_file import replace_file
from lowbitc.compiler.write_config import spell_config
from lowbitc.options import settle
from lowbitc.simulation import preprocess_of, simulate
from lowbitc.targets.container import container_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from lowbitc.comparing import ComparedLayer, Comparison
    from lowbitc.compilation import Report
    from lowbitc.compiler.datasets.opening import DataSource
    from lowbitc.simulation import Simulation
    from lowbitc.targets.container import Json
    from lowbitc.targets.program.program import Program

_FULL = 8
_LEAST_GAIN_DB = 0.2
_MOST_RAISED = 6
_SHARE_RAISED = 4


@dataclass(frozen=True, slots=True)
class Suggestion:
    """Settings to compile with instead, and why; ``changes`` is empty where all is well."""

    config: Config
    changes: tuple[str, ...]
    remarks: Mapping[str, str]

    def text(self) -> str:
        """Return the lowbitc.toml."""
        header = ("Suggested by lowbitc compare:", *(f"- {change}" for change in self.changes))
        return spell_config(self.config, header, self.remarks)


@dataclass(frozen=True, slots=True)
class Bought:
    """A program before and after a suggestion, on the same samples."""

    samples: int
    metrics_before: Mapping[str, float]
    metrics_after: Mapping[str, float]
    output_sqnr_db_before: float
    output_sqnr_db_after: float
    size_bytes_before: int
    size_bytes_after: int
    energy_j_before: float
    energy_j_after: float

    def as_json(self) -> dict[str, Json]:
        """Return plain dictionaries, lists, numbers and texts."""
        return asdict(self)


def suggest(comparison: Comparison, program: Program) -> Suggestion:
    """Suggest settings: how the program was compiled, with more bits where they pay most.

    Bad layers are a matter of calibration, not of bits: where there are any, clips are to be
    chosen by least squared error on data.
    """
    spelled = str(program.options.get("bits", "8/8/8"))
    changes = [
        f"calibrate again: {layer.name} is bad, {layer.cause}"
        for layer in comparison.layers
        if layer.bad
    ]
    remarks: dict[str, str] = {}
    clip = str(program.options.get("clip", "mse"))
    layers = list(_present(comparison, program, spelled))
    for layer in _worth_raising(comparison):
        raised = _raised(layer)
        gain = layer.left_out.gain_db if layer.left_out is not None else 0.0
        remarks[raised.match] = f"exact, it would bring {gain:.1f} dB of the outputs' error back"
        changes.append(f"more bits for {layer.name}")
        layers.append(raised)
    if any(layer.bad for layer in comparison.layers):
        clip = "mse"
    config = Config(
        bits=spelled,
        target=program.target,
        clip=clip,
        weights=_kept(program, "weights"),
        offload=_kept(program, "offload"),
        mode=_kept(program, "mode"),
        states=tuple(f"{state.input}={state.output}" for state in program.states),
        layers=tuple(layers),
        preprocess=preprocess_of(program),
        shapes=tuple(
            f"{port.name}={','.join(map(str, port.shape))}" for port in program.inputs if port.shape
        ),
    )
    return Suggestion(config, tuple(changes) or ("nothing to change",), remarks)


def _kept(program: Program, option: str) -> str | None:
    """Return a setting that the program was compiled with."""
    value = program.options.get(option)
    return value if isinstance(value, str) else None


def _present(comparison: Comparison, program: Program, spelled: str) -> Iterator[LayerBits]:
    """Yield what the program already has beyond a/b/c."""
    bits = parse_bits(spelled)
    for number, layer in enumerate(x for x in comparison.layers if x.weight_bits):
        first = not number and layer.weight_bits == bits.first
        width = _output_bits(layer)
        weights = layer.weight_bits if layer.weight_bits != bits.weights and not first else None
        clipped = layer.output.startswith("U") and width != bits.activations
        if weights or clipped:
            yield LayerBits(glob.escape(layer.name), weights, width if clipped else None)
    for step in program.host_steps:
        for node in step.nodes:
            if node.reason.startswith("LB292"):
                yield LayerBits(glob.escape(node.name), on_host=True)


def _worth_raising(comparison: Comparison) -> Sequence[ComparedLayer]:
    """Return the layers whose exactness would help the outputs most, and that have few bits."""
    found = [
        layer
        for layer in comparison.ranking
        if layer.left_out is not None
        and not layer.bad
        and layer.left_out.gain_db >= _LEAST_GAIN_DB
        and (0 < layer.weight_bits < _FULL or _output_bits(layer) < _FULL)
    ]
    most = min(_MOST_RAISED, max(1, len(comparison.layers) // _SHARE_RAISED))
    return found[:most]


def _output_bits(layer: ComparedLayer) -> int:
    """Return the bits of what a layer puts out behind a clip; signed streams count as full."""
    return int(layer.output[1:]) if layer.output.startswith("U") else _FULL


def _raised(layer: ComparedLayer) -> LayerBits:
    """Return the next width for weights and output, where they are not full."""
    weights, output = layer.weight_bits, _output_bits(layer)
    return LayerBits(
        glob.escape(layer.name),
        weights=_next(weights) if 0 < weights < _FULL else None,
        activations=_next(output) if output < _FULL else None,
    )


def _next(width: int) -> int:
    return next(w for w in WIDTHS if w > width)


def write_suggestion(path: Path, suggestion: Suggestion) -> None:
    """Write the lowbitc.toml; raises CompileError LB771 where that fails."""
    try:
        replace_file(path, [suggestion.text().encode("utf-8")])
    except OSError as problem:
        found = error(
            "LB771",
            f"the suggestion cannot be written to {path}",
            found=str(problem),
            hint="check the folder, its permissions and the space left",
        )
        raise CompileError([found]) from problem


def measure_suggestion(  # noqa: PLR0913 - one argument a setting
    model: Path,
    program: Program,
    config: Path,
    data: DataSource,
    calib: DataSource,
    comparison: Comparison,
    *,
    threads: int = 0,
    report: Report = silent,
) -> Bought:
    """Compile with a suggestion's file, and run both programs on the compared samples."""
    options = settle(model, calib=calib, config=config, threads=threads)
    made = compile_with(model, options, report=report).program
    limit = comparison.samples
    before, after = (simulate(p, data, limit=limit, threads=threads) for p in (program, made))
    again = compare(model, made, data, limit=limit, left_out=0, threads=threads, report=report)
    return Bought(
        samples=limit,
        metrics_before=before.metrics,
        metrics_after=after.metrics,
        output_sqnr_db_before=comparison.output.sqnr_db,
        output_sqnr_db_after=again.output.sqnr_db,
        size_bytes_before=len(container_bytes(program.container)),
        size_bytes_after=len(container_bytes(made.container)),
        energy_j_before=_energy(before),
        energy_j_after=_energy(after),
    )


def _energy(found: Simulation) -> float:
    return found.cost.energy_per_frame_j
