"""``lowbitc demo``: the whole way, on the network that comes with the package."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import click

from lowbitc.cli import options
from lowbitc.cli.exit_codes import ExitCode

LEAST = 0.97
"""Share of the digits that the program must read."""
MOST_DROP = 0.02
"""Share that it may lose against the float network; the test set has few samples."""


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
    """Compile, simulate and gate the network that comes with lowbitc.

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
    from lowbitc.cli.verdicts.text import verdict_text
    from lowbitc.compilation import compile_with
    from lowbitc.gating import gate
    from lowbitc.options import settle
    from lowbitc.simulation import simulate

    for part in resources.files("lowbitc").joinpath("demo").iterdir():
        (folder / part.name).write_bytes(part.read_bytes())
    model, program, data = (folder / f"digits.{kind}" for kind in ("onnx", "lbc", "test.npz"))
    made = compile_with(model, settle(model, bits=bits, target=target))
    made.program.save(program)
    found = simulate(program, data)
    verdict = gate(program, data, minimum=LEAST, reference=model, max_drop=MOST_DROP)
    code = ExitCode.DONE if verdict.passed else ExitCode.NOT_MET
    if settings.current().format == "json":
        present.show_json({**found.as_json(), "gate": verdict.as_json(), "bits": bits})
        click.get_current_context().exit(code)
    findings.show_findings(made.diagnostics)
    click.echo("A network that reads 8x8 images of digits; what ran is")
    click.echo(f"  lowbitc compile digits.onnx --bits {bits}")
    click.echo("  lowbitc simulate digits.lbc --data digits.test.npz")
    click.echo(
        f"  lowbitc gate digits.lbc --data digits.test.npz --min {LEAST} "
        f"--reference digits.onnx --max-drop {MOST_DROP}\n"
    )
    present.show_pairs(
        {
            "float network": f"{verdict.float_value:.2%} right, {model.stat().st_size:,} bytes",
            "on the chip": f"{verdict.value:.2%} right, {program.stat().st_size:,} bytes",
        }
    )
    click.echo()
    show_simulation(found)
    click.echo()
    click.echo(verdict_text(verdict))
    click.get_current_context().exit(code)
