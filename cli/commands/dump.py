"""``lowbitc dump``: the graph as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from lowbitc.cli import options

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from typing_extensions import Unpack

    from lowbitc.cli.arguments import Arguments
    from lowbitc.compiler.diagnostics import Diagnostic
    from lowbitc.compiler.elements import Array
    from lowbitc.compiler.ir.graph import Graph
    from lowbitc.compiler.manager import Hook, PassRun


@click.command("dump")
@click.argument("file", type=options.FILE, metavar="MODEL.onnx|PROGRAM.lbc")
@click.option(
    "--after",
    metavar="PASS",
    help="The pass whose result to print; the last one when left out.",
)
@click.option("--elide", is_flag=True, help="Leave out large constants; such text is no graph.")
@options.compile_options()
@options.format_option()
def command(file: Path, *, after: str | None, elide: bool, **arguments: Unpack[Arguments]) -> None:
    """Print the graph after a pass, or those of a program.

    The text parses back to the same graph.
    """
    from lowbitc.cli import present, settings
    from lowbitc.compiler.text import print_graph

    is_program = file.suffix == ".lbc"
    graphs = _launches(file) if is_program else [_graph_after(file, after, arguments)]
    texts = [print_graph(graph, elide=elide) for graph in graphs]
    if settings.current().format == "json":
        present.show_json({"graphs": texts})
        return
    click.echo("\n".join(text.rstrip("\n") for text in texts))


def _launches(file: Path) -> list[Graph]:
    from lowbitc.simulation import load

    return [launch.graph for launch in load(file).launches]


def _graph_after(model: Path, after: str | None, arguments: Arguments) -> Graph:
    """Return the graph after a pass; passes after it do not run."""
    from lowbitc.cli.progress import progress
    from lowbitc.compilation import compile_with
    from lowbitc.options import settle

    ran: dict[str, None] = {}

    def hook(_sample: Mapping[str, Array] | None) -> Hook:
        def stop(run: PassRun) -> tuple[Diagnostic, ...]:
            ran[run.name] = None
            if run.name == after:
                raise _ReachedError(run.after)
            return ()

        return stop

    try:
        with progress() as told:
            made = compile_with(model, settle(model, **arguments), hook=hook, report=told)
    except _ReachedError as reached:
        return reached.graph
    if after is not None:
        message = f"no pass is named {after!r}; those that ran: {', '.join(ran)}"
        raise click.BadParameter(message, param_hint="'--after'")
    return made.graph


class _ReachedError(Exception):
    """The pass that was asked for has run."""

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.graph = graph
