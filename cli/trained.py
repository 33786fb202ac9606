"""How training is shown to people."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from lowbitc.cli.present import Column, Table, show_pairs, show_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lowbitc.training.agreement import Agreement
    from lowbitc.training.records import EpochRecord


def show_epochs(epochs: Sequence[EpochRecord]) -> None:
    """Print what each epoch gave."""
    kinds = tuple(dict.fromkeys(kind for epoch in epochs for kind in epoch.compression))
    parted = len({epoch.part for epoch in epochs}) > 1
    labelled = any(epoch.accuracy is not None for epoch in epochs)
    columns = (
        *((Column("part"),) if parted else ()),
        Column("epoch", "right"),
        Column("loss", "right"),
        *((Column("labels hit", "right"),) if labelled else ()),
        *(Column(f"{kind} sent", "right") for kind in kinds),
    )
    rows = tuple(
        (
            *((r.part,) if parted else ()),
            str(r.epoch + 1),
            f"{r.loss:.4f}",
            *(("" if r.accuracy is None else f"{r.accuracy:.1%}",) if labelled else ()),
            *(f"1/{r.compression[k]:.1f}" if k in r.compression else "" for k in kinds),
        )
        for r in epochs
    )
    show_table(Table(columns, rows))
    click.echo()


def show_agreement(found: Agreement) -> None:
    """Print the accuracies of training and of the program, and what differs between them."""
    pairs = {"compared on": f"{found.samples:,} samples"}
    if found.accuracy is not None and found.simulated is not None:
        pairs["accuracy in training"] = f"{found.accuracy:.2%}"
        pairs["accuracy, simulated"] = f"{found.simulated:.2%}"
    if found.differing is not None:
        pairs["predicted classes"] = f"{found.differing:,} differ"
    pairs["levels"] = f"{found.differing_levels:,} of {found.levels:,} differ"
    show_pairs(pairs)
    columns = (Column("layer"), Column("levels", "right"), Column("differing", "right"))
    rows = tuple((x.name, f"{x.levels:,}", f"{x.differing:,}") for x in found.layers if x.differing)
    if rows:
        show_table(Table(columns, rows))
    click.echo()
