"""How the result of a simulation is shown to people."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from lowbitc.cli.present import Column, Table, show_pairs, show_table

if TYPE_CHECKING:
    from lowbitc.simulation import Simulation
    from lowbitc.targets.cost import LayerCost

_COLUMNS = (
    Column("layer"),
    Column("operator"),
    Column("bits", "right"),
    Column("NPs", "right"),
    Column("events", "right"),
    Column("zeros", "right"),
    Column("operations", "right"),
    Column("cycles", "right"),
)


def show_simulation(found: Simulation) -> None:
    """Print metrics, then what the chip did by layer, then what it costs by the model."""
    # What a function of the user's gives is no share.
    metrics = {
        name: f"{value:.6g}" if ":" in name else f"{value:.2%}"
        for name, value in found.metrics.items()
    }
    show_pairs(
        {
            "samples": str(found.samples),
            **(metrics or {"accuracy": "not measured: the data has no labels"}),
            "on the chip": f"{found.device.mac_share:.1%} of the multiply-accumulates, "
            f"{found.device.param_share:.1%} of the parameters, "
            f"{found.device.launches} launch{'' if found.device.launches == 1 else 'es'} a frame"
            f" (no fewer than {found.device.launch_bound}), "
            f"{found.device.crossing_bytes:,} bytes crossing",
            "simulated at": f"{found.throughput:.0f} frames/s on this computer ({found.engine}), "
            f"{found.cpu_time_share:.0%} of the time in the CPU's pieces",
        }
    )
    click.echo()
    show_table(Table(_COLUMNS, tuple(_row(layer) for layer in found.layers)))
    cost = found.cost
    click.echo()
    click.echo("By the chip's cost model (an estimate, not a measurement), a frame takes")
    show_pairs(
        {
            "  cycles": f"{cost.cycles_per_frame:,.0f}",
            "  energy": f"{quantity(cost.energy_per_frame_j)}J "
            f"({quantity(cost.dynamic_energy_j)}J of it for events)",
            "  rate": f"{cost.frames_per_second:,.0f} frames/s",
        }
    )


def _row(layer: LayerCost) -> tuple[str, ...]:
    return (
        layer.name,
        layer.op,
        str(layer.bits),
        str(layer.processors),
        f"{layer.events:,.0f}",
        f"{layer.sparsity:.1%}",
        f"{layer.synaptic_ops:,.0f}",
        f"{layer.cycles:,.0f}",
    )


def quantity(value: float) -> str:
    """Return a number with an SI prefix: 0.00123 is ``1.23 m``."""
    for factor, prefix in ((1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"), (1e-12, "p")):
        if value >= factor or prefix == "p":
            return f"{value / factor:.3g} {prefix}"
    raise AssertionError
