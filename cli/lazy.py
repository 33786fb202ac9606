"""A click group that imports a command only when it is run, so that help costs no imports."""

from __future__ import annotations

import difflib
import importlib
from typing import TYPE_CHECKING, ClassVar

import click

from lowbitc.cli.boundary import Boundary

if TYPE_CHECKING:
    from collections.abc import Mapping


class LazyGroup(click.Group):
    """A group whose commands are loaded on demand.

    ``summaries`` holds the short help of each command in the order to list them. The command
    NAME is ``command`` in the module NAME of ``package``.
    """

    package: ClassVar[str]
    summaries: ClassVar[Mapping[str, str]]

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the work, which is not the alphabet's."""
        del ctx
        return list(self.summaries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a command; None when there is none of that name."""
        del ctx
        if cmd_name not in self.summaries:
            return None
        command: object = importlib.import_module(f"{self.package}.{cmd_name}").command
        return command if isinstance(command, click.Command) else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that ``args`` begin with, or say which one may have been meant."""
        name = args[0]
        if name not in self.summaries and not name.startswith("-"):
            near = difflib.get_close_matches(name, self.summaries, n=1)
            meant = f" Did you mean {near[0]!r}?" if near else ""
            ctx.fail(f"No such command {name!r}.{meant}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing any."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(self.summaries.items()))

    def invoke(self, ctx: click.Context) -> object:
        """Run a command; every error leaves as a coded finding with its exit code."""
        with Boundary():
            return super().invoke(ctx)
        # Only a boundary that swallowed its error would come here, and this one never does.
        raise AssertionError
