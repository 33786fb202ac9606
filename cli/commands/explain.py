"""``lowbitc explain``: what a diagnostic code means."""

from __future__ import annotations

import click

from lowbitc.cli import options


@click.command("explain")
@click.argument("code")
@options.format_option()
def command(code: str) -> None:
    """Say what a diagnostic code means and what to do.

    CODE is what stands in brackets after a finding, like LB201; `all` lists every code.
    """
    from lowbitc.cli import present, settings
    from lowbitc.compiler.codes import CATALOGUE

    if code.lower() == "all":
        if settings.current().format == "json":
            present.show_json(list(CATALOGUE.values()))
            return
        rows = tuple((entry.code, entry.title) for entry in CATALOGUE.values())
        present.show_table(present.Table((present.Column("code"), present.Column("title")), rows))
        return
    entry = CATALOGUE.get(code.upper())
    if entry is None:
        message = f"there is no code {code!r}; `lowbitc explain all` lists every code."
        raise click.BadParameter(message, param_hint="'CODE'")
    if settings.current().format == "json":
        present.show_json(entry)
        return
    click.echo(f"{entry.code}: {entry.title}\n")
    for label, text in (("What", entry.what), ("Why", entry.why), ("Do", entry.remedy)):
        click.echo(click.wrap_text(text, 88, f"{label + ':':<6}", " " * 6))
