"""What an engine is: it runs the launches of a program."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lowbitc.compiler.elements import Array
    from lowbitc.targets.engines.events import Counts


class LaunchRunner(Protocol):
    """One launch, ready to run any number of times."""

    def run(self, inputs: Mapping[str, Array], counts: Counts | None = None) -> dict[str, Array]:
        """Return the launch's outputs by name for n samples joined along axis 0.

        Inputs and outputs are float32 at borders to the CPU, else levels. With ``counts``, the
        events of every layer are added to them.
        """
        ...
