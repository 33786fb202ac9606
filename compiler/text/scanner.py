"""Read the words of one statement of the text form."""

from __future__ import annotations

import base64
import binascii
import json
import re

_SPACE = re.compile(r"[ \t]*")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_NAME = re.compile(r"[A-Za-z0-9_./:\-]+")
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_INTEGER = re.compile(r"[+-]?[0-9]+")
_NUMBER = re.compile(r"[+-]?(?:inf|nan|(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)")
ABSENT = "_"
ELIDED = "elided"


class MalformedTextError(Exception):
    """A statement is not as it should be; ``expected`` and ``found`` say how."""

    def __init__(self, expected: str, found: str) -> None:
        """Keep both sides."""
        self.expected = expected
        self.found = found
        super().__init__(f"expected {expected}, found {found}")


def quote(text: str) -> str:
    """Spell any text in one line."""
    return json.dumps(text)


def spell_value(name: str) -> str:
    """Spell the name of a value: ``%name``, quoted where it must be, ``_`` where absent."""
    if not name:
        return ABSENT
    return f"%{name if _NAME.fullmatch(name) else quote(name)}"


def spell_bytes(data: bytes) -> str:
    """Spell bytes in one line."""
    return quote(base64.b64encode(data).decode("ascii"))


class Scanner:
    """One line of text and a place in it."""

    def __init__(self, line: str) -> None:
        """Begin at the start of a line."""
        self.line = line
        self.place = 0

    def _match(self, pattern: re.Pattern[str]) -> str | None:
        space = _SPACE.match(self.line, self.place)
        start = space.end() if space else self.place
        found = pattern.match(self.line, start)
        if found is None:
            return None
        self.place = found.end()
        return found.group()

    def malformed(self, expected: str) -> MalformedTextError:
        """Return the exception for what stands here."""
        rest = self.line[self.place :].strip()
        shown = f"{rest[:24]!r}" if rest else "the end of the line"
        return MalformedTextError(expected, f"{shown} in column {self.place + 1}")

    def _need(self, pattern: re.Pattern[str], expected: str) -> str:
        found = self._match(pattern)
        if found is None:
            raise self.malformed(expected)
        return found

    def skip(self, mark: str) -> bool:
        """Step over ``mark`` if it stands here, and say whether it did."""
        return self._match(re.compile(re.escape(mark))) is not None

    def expect(self, mark: str) -> None:
        """Step over ``mark``."""
        if not self.skip(mark):
            raise self.malformed(f"{mark!r}")

    def at_string(self) -> bool:
        """Say whether a quoted text stands here."""
        place = self.place
        found = self._match(re.compile('"')) is not None
        self.place = place
        return found

    def string(self) -> str:
        """Read a quoted text."""
        found = self._need(_STRING, "a quoted text")
        try:
            return str(json.loads(found))
        except ValueError as failure:
            raise MalformedTextError("a quoted text as in JSON", repr(found)) from failure

    def data(self) -> bytes:
        """Read quoted base64."""
        text = self.string()
        try:
            return base64.b64decode(text, validate=True)
        except binascii.Error as failure:
            raise MalformedTextError("base64", repr(text[:24])) from failure

    def word(self, expected: str = "a word") -> str:
        """Read a bare word."""
        return self._need(_WORD, expected)

    def integer(self) -> int:
        """Read an integer."""
        return int(self._need(_INTEGER, "an integer"))

    def number(self) -> float:
        """Read a number, ``inf`` or ``nan``."""
        return float(self._need(_NUMBER, "a number"))

    def value(self) -> str:
        """Read the name of a value, "" for ``_``."""
        if self.skip("%"):
            return self.string() if self.at_string() else self._need(_NAME, "a name after %")
        if self._match(re.compile(r"_(?![A-Za-z0-9_])")) is None:
            raise self.malformed("a value (%name, or _ where there is none)")
        return ""

    def finish(self) -> None:
        """Check that nothing is left but a comment."""
        rest = self.line[self.place :].strip()
        if rest and not rest.startswith("#"):
            raise self.malformed("the end of the line")
