"""The pytest fixture ``lowbitc_gate``; pytest finds it by itself where lowbitc is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from lowbitc.verdict import Verdict


@pytest.fixture
def lowbitc_gate(record_property: Callable[[str, object], None]) -> Callable[..., Verdict]:
    """Give a function that fails the test where a program does not pass its gate.

    It takes what ``lowbitc.gate`` takes, and returns the verdict. Too few samples to tell, and
    whatever could not be measured, fail too. Figures go into the JUnit report of the test.
    """

    def hold(*arguments: object, **settings: object) -> Verdict:
        # Nothing of lowbitc is loaded in sessions that have no gate.
        import lowbitc  # noqa: PLC0415
        from lowbitc.cli.verdicts.text import verdict_text  # noqa: PLC0415

        try:
            verdict: Verdict = lowbitc.gate(*arguments, **settings)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        except lowbitc.CompileError as problem:
            pytest.fail(f"the gate could not measure: {problem}", pytrace=False)
        for metric in verdict.metrics:
            record_property(f"lowbitc_{metric.name}", metric.value)
        if not verdict.passed:
            pytest.fail(verdict_text(verdict), pytrace=False)
        return verdict

    return hold
