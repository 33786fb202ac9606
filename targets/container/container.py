"""A program in memory: its manifest and its sections."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from lowbitc.targets.container.layout import MAX_U32, MINOR, SectionType, section_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lowbitc.targets.container.manifest import Json


@dataclass(frozen=True, slots=True)
class Section:
    """Bytes with a type and a number.

    ``kind`` is a SectionType, or the number of a type that a newer format added. ``data`` of a
    program that was read is a view of the file; ``optional`` lets a reader that does not know the
    type skip the section.
    """

    kind: int
    number: int
    data: bytes | memoryview
    optional: bool = False

    @property
    def name(self) -> str:
        """Name the section for messages: ``NP_IMAGE 3``."""
        return section_name(self.kind, self.number)

    @property
    def size_bytes(self) -> int:
        """Length of the data, without padding."""
        return memoryview(self.data).nbytes


@dataclass(frozen=True, slots=True)
class Container:
    """A manifest and all other sections, kept in ascending order of (kind, number).

    ``minor`` is the minor format version of the file that was read, so that writing it again
    gives the same bytes.

    Raises:
        ValueError: two sections with the same kind and number, a number outside 32 bits, or a
            manifest among the sections.

    """

    manifest: Mapping[str, Json]
    sections: tuple[Section, ...] = ()
    minor: int = MINOR

    def __post_init__(self) -> None:
        """Bring the sections into the order of the file."""
        ordered = tuple(sorted(self.sections, key=lambda s: (s.kind, s.number)))
        for before, after in pairwise(ordered):
            if (before.kind, before.number) == (after.kind, after.number):
                message = f"two sections are {after.name}"
                raise ValueError(message)
        for section in ordered:
            if section.kind == SectionType.MANIFEST:
                message = "the manifest is no section of its own"
                raise ValueError(message)
            if not (0 <= section.kind <= MAX_U32 and 0 <= section.number <= MAX_U32):
                message = f"{section.name} has a type or number outside 32 bits"
                raise ValueError(message)
        object.__setattr__(self, "sections", ordered)

    def of_kind(self, kind: SectionType) -> tuple[Section, ...]:
        """All sections of a type, by ascending number."""
        return tuple(s for s in self.sections if s.kind == kind)

    def find(self, kind: SectionType, number: int = 0) -> Section | None:
        """Look a section up; None when the program has none such."""
        return next((s for s in self.sections if (s.kind, s.number) == (kind, number)), None)
