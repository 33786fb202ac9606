"""Exit codes of the command line, and which one a set of findings calls for."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class ExitCode(enum.IntEnum):
    """What a command's exit code says; scripts may rely on the numbers."""

    DONE = 0
    NOT_MET = 1  # the gate failed, or the model does not fit the chip
    WRONG_USE = 2  # click's own code for unknown options and arguments
    BAD_INPUT = 3
    NOT_MEASURED = 4
    INTERNAL = 70  # EX_SOFTWARE of sysexits.h


_BY_CODE = {
    "LB285": ExitCode.WRONG_USE,
    "LB299": ExitCode.WRONG_USE,
    "LB401": ExitCode.WRONG_USE,
    "LB450": ExitCode.WRONG_USE,
    "LB451": ExitCode.NOT_MET,
    "LB452": ExitCode.NOT_MET,
    "LB503": ExitCode.WRONG_USE,
    "LB731": ExitCode.WRONG_USE,
    "LB734": ExitCode.NOT_MEASURED,
    "LB735": ExitCode.NOT_MEASURED,
    "LB736": ExitCode.NOT_MEASURED,
    "LB737": ExitCode.NOT_MEASURED,
    "LB738": ExitCode.NOT_MEASURED,
    "LB751": ExitCode.NOT_MEASURED,
    "LB753": ExitCode.NOT_MEASURED,
    "LB754": ExitCode.NOT_MEASURED,
    "LB755": ExitCode.NOT_MEASURED,
    "LB756": ExitCode.NOT_MEASURED,
    "LB758": ExitCode.NOT_MEASURED,
    "LB744": ExitCode.NOT_MET,
    "LB774": ExitCode.NOT_MEASURED,
    "LB906": ExitCode.NOT_MEASURED,
    "LB907": ExitCode.BAD_INPUT,
}
_BY_AREA = {"LB5": ExitCode.NOT_MET, "LB9": ExitCode.INTERNAL}
# When findings disagree the first of these wins: what is broken hides what is merely not met.
_PRECEDENCE = (
    ExitCode.INTERNAL,
    ExitCode.BAD_INPUT,
    ExitCode.WRONG_USE,
    ExitCode.NOT_MEASURED,
    ExitCode.NOT_MET,
)


def exit_code(error_codes: Iterable[str]) -> ExitCode:
    """Return the exit code for the codes of the errors found; DONE when there are none."""
    found = {_BY_CODE.get(c) or _BY_AREA.get(c[:3], ExitCode.BAD_INPUT) for c in error_codes}
    return next((code for code in _PRECEDENCE if code in found), ExitCode.DONE)
