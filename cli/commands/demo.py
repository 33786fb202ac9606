"""``lowbitc demo``: the whole way, on the network that comes with the package."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lowbitc.cli import options

if TYPE_CHECKING:
    from lowbitc.compiler.elements import Array


@click.command("demo")
@click.option(
    "--bits",
    default="8/4/4",
    show_default=True,
    metavar="A/B/C",
    help="Bits of the first layer's weights, of the others' weights, and of activations.",
)
@options.target_option()
@click.option(
    "--keep",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Leave the model, its data and the program in this folder.",
)
@options.format_option()
def command(*, bits: str, target: str | None, keep: Path | None) -> None:
    """Compile and simulate the network that comes with lowbitc.

    It reads 8x8 images of handwritten digits; the samples that it is measured on were held out of
    its training and of the calibration.
    """
    import tempfile

    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        _run(keep, bits, target)
        return
    with tempfile.TemporaryDirectory() as folder:
        _run(Path(folder), bits, target)


def _run(folder: Path, bits: str, target: str | None) -> None:
    from lowbitc.cli import findings, present, settings
    from lowbitc.cli.measured import show_simulation
    from lowbitc.compilation import compile_with
    from lowbitc.options import settle
    from lowbitc.simulation import simulate

    for part in resources.files("lowbitc").joinpath("demo").iterdir():
        (folder / part.name).write_bytes(part.read_bytes())
    model, program, data = (folder / f"digits.{kind}" for kind in ("onnx", "lbc", "test.npz"))
    made = compile_with(model, settle(model, bits=bits, target=target))
    made.program.save(program)
    found = simulate(program, data)
    exact = float_accuracy(model, data)
    if settings.current().format == "json":
        present.show_json({**found.as_json(), "float": {"top1": exact}, "bits": bits})
        return
    findings.show_findings(made.diagnostics)
    click.echo("A network that reads 8x8 images of digits, compiled and simulated with")
    click.echo(f"  lowbitc compile digits.onnx --bits {bits}")
    click.echo("  lowbitc simulate digits.lbc --data digits.test.npz\n")
    present.show_pairs(
        {
            "float network": f"{exact:.2%} right, {model.stat().st_size:,} bytes",
            "on the chip": f"{found.metrics['top1']:.2%} right, {program.stat().st_size:,} bytes",
        }
    )
    click.echo()
    show_simulation(found)


def float_accuracy(model: Path, data: Path) -> float:
    """Return the share of samples that the float network gets right, in ONNX Runtime."""
    import numpy as np

    from lowbitc.compiler.onnx_session import OnnxSession

    with np.load(data) as held:
        images: Array = held["x"]
        labels: Array = held["y"]
    (scores,) = OnnxSession(model.read_bytes()).run({"x": images}).values()
    right = np.argmax(np.asarray(scores), axis=1) == labels
    return np.count_nonzero(right) / len(labels)
