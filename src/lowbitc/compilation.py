"""From a float ONNX model to a program: the passes, in order, and what they told."""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lowbitc.assigning import assigning
from lowbitc.compiler.datasets.opening import open_dataset
from lowbitc.compiler.datasets.stream import InputSpec
from lowbitc.compiler.diagnostics import Diagnostic, raise_errors
from lowbitc.compiler.execute import FloatSession
from lowbitc.compiler.frontend import import_model
from lowbitc.compiler.manager import PassManager
from lowbitc.compiler.states import CarriedDataset, without_states, wrong_states
from lowbitc.options import FEEDBACK, Options, settle
from lowbitc.passes.absorb_shifts import AbsorbShifts
from lowbitc.passes.add_learning import AddLearning, binary_features
from lowbitc.passes.bin_weights import BinWeights
from lowbitc.passes.calibrate_data_free import CalibrateDataFree, tell_data_free
from lowbitc.passes.calibrate_pact import CalibratePact
from lowbitc.passes.check_quantized import is_quantized
from lowbitc.passes.choose_features import ChooseFeatures
from lowbitc.passes.equalize_channels import EqualizeChannels
from lowbitc.passes.folding import FOLDING
from lowbitc.passes.partition import Partition
from lowbitc.passes.propagate_moments import batchnorm_moments
from lowbitc.passes.quantize import Quantize
from lowbitc.passes.read_quantizers import ReadQuantizers
from lowbitc.passes.recipes import Recipe
from lowbitc.passes.rotate_streams import RotateStreams
from lowbitc.passes.round_weights import RoundWeights
from lowbitc.passes.synthesize_samples import synthesize_samples
from lowbitc.passes.take_quantizers import TakeQuantizers
from lowbitc.targets.build import build_program
from lowbitc.targets.registry import load_target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    import onnx

    from lowbitc.compiler.datasets.opening import DataSource
    from lowbitc.compiler.datasets.preprocess import Preprocess
    from lowbitc.compiler.datasets.stream import Dataset
    from lowbitc.compiler.elements import Array
    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.compiler.manager import Hook, LayerError, Pass
    from lowbitc.compiler.states import State
    from lowbitc.targets.program.program import Program
    from lowbitc.targets.spec import Target


if TYPE_CHECKING:
    Report = Callable[[str, int, int], None]
    """Told the step of long work, how much of it is done, and of how much."""


def silent(_step: str, _done: int, _total: int) -> None:
    """Tell nobody."""


_CHOOSE_ON = 256
"""Samples that the thresholds of binary features are chosen on."""
_EQUALIZE_ON = 128
"""Samples that the ranges of channels are measured on."""


@dataclass(frozen=True, slots=True)
class Retraining:
    """What takes the place of the pass that rounds weights.

    ``replace`` is given that pass, if the options have one; ``spelled`` says in the program's
    manifest what was done.
    """

    replace: Callable[[Pass | None], Pass]
    spelled: str


@dataclass(frozen=True, slots=True)
class Compilation:
    """A program, the integer graph it was made from, and every finding on the way.

    ``errors`` are what quantizing cost each layer, as the passes measured it anyway.
    """

    program: Program
    graph: Graph
    diagnostics: tuple[Diagnostic, ...]
    errors: tuple[LayerError, ...] = ()


def compile(  # noqa: A001, PLR0913 - the field's verb; one argument a setting
    model: str | Path | onnx.ModelProto,
    *,
    calib: DataSource | None = None,
    bits: str | None = None,
    target: str | None = None,
    config: str | Path | None = None,
    shapes: Sequence[str] = (),
    clip: str | None = None,
    weights: str | None = None,
    mode: str | None = None,
    limit: int | None = None,
    threads: int = 0,
    offload: str | None = None,
    states: Sequence[str] = (),
    learn: str | None = None,
) -> Program:
    """Compile a float ONNX model to a program.

    ``calib`` is an .npz, a folder of images, ``package.module:function`` or a dictionary of
    arrays; without it and without MODEL.calib.npz or lowbitc.toml beside the model, images are made
    up that fit the batch-norm statistics, or else ranges are estimated from the weights. ``bits``
    is a/b/c as on the command line. Raises CompileError with every reason.
    """
    options = settle(
        model,
        calib=calib,
        bits=bits,
        target=target,
        config=config,
        shapes=shapes,
        clip=clip,
        weights=weights,
        mode=mode,
        limit=limit,
        threads=threads,
        offload=offload,
        states=states,
        learn=learn,
    )
    return compile_with(model, options).program


def compile_with(
    model: Path | str | onnx.ModelProto,
    options: Options,
    *,
    hook: Callable[[Mapping[str, Array] | None], Hook] | None = None,
    training: Retraining | None = None,
    report: Report = silent,
) -> Compilation:
    """Compile with settled options.

    ``hook`` makes the manager's hook from one calibration sample (None without data).
    ``training`` takes the place of the pass that rounds weights.
    """
    target = load_target(options.target)
    imported = import_model(model, shapes=options.shapes)
    found = list(imported.diagnostics)
    raise_errors(found)
    graph = imported.graph
    raise_errors(_wrong_states(graph, options))
    dataset = sample = None
    given = is_quantized(ReadQuantizers().run(graph).graph)
    if options.calib is not None:
        dataset = open_stream(graph, options.calib, options.preprocess, options.states)
        sample = next(samples_of(graph, dataset, 1))
    elif given:
        pass
    elif (made := synthesize_samples(graph, batchnorm_moments(graph))) is not None:
        dataset = open_dataset({made.value: made.images}, input_specs(graph), None)
        found.append(
            tell_data_free(
                f"{len(made.images)} images were made up",
                f"the network's batch norms fit inputs from {made.span} best",
            )
        )
    if dataset is None and options.weights == FEEDBACK:
        options = dataclasses.replace(options, weights="mse")
    if options.learn is not None:
        folded = PassManager(FOLDING).run(graph).graph
        options = dataclasses.replace(options, bits=binary_features(folded, options.bits))
    quantize = (
        taking(graph, target, options, dataset)
        if given
        else quantizing(graph, target, options, dataset, report, training)
    )
    passes = (*FOLDING, *quantize)
    manager = PassManager(passes, hook(sample)) if hook is not None else PassManager(passes)
    result = manager.run(graph)
    report("place", 0, 0)
    found += result.diagnostics
    spelled = options_text(options) | ({} if training is None else {"training": training.spelled})
    built = build_program(
        result.graph,
        target,
        spelled,
        sample,
        options.preprocess,
        options.mode,
        options.states,
    )
    found += built.diagnostics
    return Compilation(built.program, result.graph, tuple(found), result.errors)


def taking(
    imported: Graph, target: Target, options: Options, dataset: Dataset | None
) -> tuple[Pass, ...]:
    """Return the passes that take a folded graph of quantizers, as it is, to a partitioned one."""
    return (
        assigning(target, options.bits, options.offload),
        AbsorbShifts(),
        TakeQuantizers(),
        Quantize(),
        *_learning(imported, options, dataset),
        Partition(),
    )


def quantizing(
    imported: Graph,
    target: Target,
    options: Options,
    dataset: Dataset | None,
    report: Report,
    training: Retraining | None = None,
) -> tuple[Pass, ...]:
    """Return the passes that take a folded graph to a partitioned one."""
    bits = options.bits
    calibrating: tuple[Pass, ...]
    if dataset is None:
        known = batchnorm_moments(imported)
        calibrating = (CalibrateDataFree(known, bits, options.clip),)
    else:
        calibrating = _calibrating(imported, dataset, options, report)
    if training is not None:
        *before, last = calibrating
        rounds = isinstance(last, RoundWeights)
        calibrating = (
            (*before, training.replace(last)) if rounds else (*calibrating, training.replace(None))
        )
    return (
        assigning(target, bits, options.offload),
        AbsorbShifts(),
        *calibrating,
        BinWeights(bits, "mse" if options.weights == FEEDBACK else options.weights),
        Quantize(),
        *_learning(imported, options, dataset),
        Partition(),
    )


def _learning(imported: Graph, options: Options, dataset: Dataset | None) -> tuple[Pass, ...]:
    """Return the passes that put in a layer that learns, where one was asked for."""
    if options.learn is None:
        return ()
    adding = AddLearning(options.learn.classes, options.learn.neurons)
    if dataset is None:
        return (adding,)
    count = min(len(dataset), options.limit, _CHOOSE_ON)
    return (
        ChooseFeatures(lambda: samples_of(imported, dataset, count), options.threads),
        adding,
    )


def _calibrating(
    imported: Graph, dataset: Dataset, options: Options, report: Report
) -> tuple[Pass, ...]:
    """Return the passes that look at data: clips, and weights where errors are fed back."""
    count = min(len(dataset), options.limit)
    calibrate = CalibratePact(
        lambda: _reported(samples_of(imported, dataset, count), count, report),
        options.bits,
        options.clip,
        options.threads,
    )
    if options.weights != FEEDBACK:
        return (calibrate,)
    layers = itertools.count(1)
    return (
        RotateStreams(options.bits),
        EqualizeChannels(
            lambda: samples_of(imported, dataset, min(count, _EQUALIZE_ON)),
            options.bits,
        ),
        calibrate,
        RoundWeights(
            lambda: samples_of(imported, dataset, count),
            options.bits,
            # Made-up images say little of scores.
            Recipe(tune_stages=options.calib is not None),
            threads=options.threads,
            advance=lambda: report("round weights", next(layers), 0),
        ),
    )


def input_specs(graph: Graph) -> tuple[InputSpec, ...]:
    """Return what each input of a graph takes."""
    return tuple(
        InputSpec(name, graph.shape(name), graph.tensor(name).element.name) for name in graph.inputs
    )


def open_stream(
    graph: Graph, source: DataSource, preprocess: Preprocess | None, states: tuple[State, ...]
) -> Dataset:
    """Open data for a float network; states are what it makes on its way through them."""
    specs = input_specs(graph)
    dataset = open_dataset(source, without_states(specs, states), preprocess)
    if not states:
        return dataset
    session = FloatSession(graph, threads=1)

    def run(sample: Mapping[str, Array]) -> dict[str, Array]:
        return session.arrays({k: v.reshape(graph.shape(k)) for k, v in sample.items()})

    return CarriedDataset(dataset, states, specs, run)


def _wrong_states(graph: Graph, options: Options) -> Iterator[Diagnostic]:
    sides = [
        {v: (graph.shape(v), graph.tensor(v).element.name) for v in values}
        for values in (graph.inputs, graph.outputs)
    ]
    yield from wrong_states(options.states, *sides)


def samples_of(graph: Graph, dataset: Dataset, count: int) -> Iterator[dict[str, Array]]:
    """Yield single samples in the shapes of the graph's inputs."""
    singles = itertools.chain.from_iterable(
        ({k: v[i] for k, v in batch.inputs.items()} for i in range(batch.size))
        for batch in dataset.batches(16)
    )
    for sample in itertools.islice(singles, count):
        yield {k: np.asarray(v).reshape(graph.shape(k)) for k, v in sample.items()}


def _reported(
    samples: Iterator[dict[str, Array]], count: int, report: Report
) -> Iterator[dict[str, Array]]:
    for done, sample in enumerate(samples):
        report("calibrate", done, count)
        yield sample


def options_text(options: Options) -> dict[str, str]:
    """Spell the options that shape a program, for its manifest."""
    learning = {} if options.learn is None else {"learn": str(options.learn)}
    return {
        **learning,
        "bits": str(options.bits),
        "calibration": "data-free" if options.calib is None else "data",
        "clip": options.clip,
        "offload": options.offload,
        "mode": options.mode,
        "weights": options.weights,
    }
