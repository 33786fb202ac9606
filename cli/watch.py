"""What a user asked to see while passes run: checks of the numbers, times, dumps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from lowbitc.compiler.diagnostics import CompileError, error
from lowbitc.compiler.hooks import DumpAfter, Timings, VerifyNumerics, combine

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lowbitc.compiler.elements import Array
    from lowbitc.compiler.manager import Hook


class Watch:
    """Hooks for one compilation, and what they collected; ``texts`` are dumps by pass."""

    def __init__(self, *, verify: bool, dumps: tuple[str, ...], threads: int) -> None:
        """Watch for these things; times are always taken."""
        self.timings = Timings()
        self.texts: dict[str, str] = {}
        self._verify = verify
        self._dumps = dumps
        self._threads = threads

    def hook(self, sample: Mapping[str, Array] | None) -> Hook:
        """Return the hook of the pass manager.

        Raises CompileError LB906 when numbers are to be verified and there is no sample.
        """
        hooks: list[Hook] = [self.timings]
        if self._dumps:
            hooks.append(DumpAfter(self._dumps, self.texts.__setitem__))
        if self._verify:
            if sample is None:
                problem = error(
                    "LB906",
                    "--verify-numerics has no sample to run",
                    found="no calibration data",
                    hint="give --calib, or leave --verify-numerics out",
                )
                raise CompileError([problem])
            hooks.append(VerifyNumerics(sample, threads=self._threads))
        return combine(*hooks)

    def check_dumps(self) -> None:
        """Refuse the name of a pass that did not run: a dump not made must not go unseen."""
        ran = dict.fromkeys(row.name for row in self.timings.rows)
        missing = [name for name in self._dumps if name not in ran]
        if missing:
            message = f"no pass is named {', '.join(missing)}; those that ran: {', '.join(ran)}"
            raise click.BadParameter(message, param_hint="'--dump-after'")
