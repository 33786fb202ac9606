"""Parse the text form of a graph."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from lowbitc.compiler.diagnostics import CompileError, Diagnostic, Source, error
from lowbitc.compiler.ir.graph import Graph, Region, Stage, Where
from lowbitc.compiler.ir.types import Clip, ValueType
from lowbitc.compiler.text.arrays import parse_array
from lowbitc.compiler.text.fields import operators, parse_attributes
from lowbitc.compiler.text.printer import FORMAT
from lowbitc.compiler.text.scanner import MalformedTextError, Scanner
from lowbitc.compiler.text.types import parse_levels, parse_type

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from lowbitc.compiler.elements import Array
    from lowbitc.compiler.ir.node import Node

_Choice = TypeVar("_Choice", Stage, Where)
_Item = TypeVar("_Item")


@dataclass(slots=True)
class _Parts:
    """What was read of a graph so far."""

    name: str = ""
    stage: Stage = Stage.IMPORTED
    opset: int = 0
    domains: list[tuple[str, int]] = field(default_factory=list[tuple[str, int]])
    inputs: list[str] = field(default_factory=list[str])
    outputs: list[str] = field(default_factory=list[str])
    nodes: list[Node] = field(default_factory=list["Node"])
    types: dict[str, ValueType] = field(default_factory=dict[str, ValueType])
    constants: dict[str, Array] = field(default_factory=dict[str, "Array"])
    clips: dict[str, Clip] = field(default_factory=dict[str, Clip])
    gains: dict[str, tuple[float, ...]] = field(default_factory=dict[str, "tuple[float, ...]"])
    rotated: list[str] = field(default_factory=list[str])
    reasons: dict[str, str] = field(default_factory=dict[str, str])
    regions: list[Region] = field(default_factory=list[Region])


def parse_graph(text: str) -> Graph:
    """Return the graph that a text stands for.

    Raises CompileError LB907 with every line that is malformed, and what was expected there.
    """
    parts = _Parts()
    found: list[Diagnostic] = []
    statements = list(_statements(text))
    if not statements or statements[0][1].strip() != FORMAT:
        raise CompileError([_malformed(1, repr(FORMAT), "another text")])
    for number, line, block in statements[1:]:
        found += _findings(number, line, block, parts)
    if not parts.opset and not found:
        found.append(_malformed(2, "a line that begins with 'graph'", "none"))
    if found:
        raise CompileError(found)
    return Graph(
        name=parts.name,
        inputs=tuple(parts.inputs),
        outputs=tuple(parts.outputs),
        nodes=tuple(parts.nodes),
        types=parts.types,
        constants=parts.constants,
        opset=parts.opset,
        domains=tuple(parts.domains),
        stage=parts.stage,
        clips=parts.clips,
        gains=parts.gains,
        rotated=tuple(parts.rotated),
        host_reasons=parts.reasons,
        regions=tuple(parts.regions),
    )


def _findings(
    number: int, line: str, block: Sequence[str], parts: _Parts
) -> tuple[Diagnostic, ...]:
    """Read one statement; return what is wrong with it."""
    try:
        _parse_statement(Scanner(line), block, parts)
    except MalformedTextError as failure:
        return (_malformed(number, failure.expected, failure.found),)
    return ()


def _malformed(number: int, expected: str, found: str) -> Diagnostic:
    return error(
        "LB907",
        f"line {number}: expected {expected}, found {found}",
        found=found,
        allowed=expected,
    )


def _statements(text: str) -> Iterator[tuple[int, str, list[str]]]:
    """Yield line number, line and the indented lines after it; skip blanks and comments."""
    current: tuple[int, str, list[str]] | None = None
    # Not splitlines(): quoted names may hold other characters that end lines.
    for number, line in enumerate(text.split("\n"), 1):
        line = line.rstrip("\r")  # noqa: PLW2901 - files that came through Windows
        if line[:1] in {" ", "\t"} and line.strip() and current is not None:
            current[2].append(line)
        elif line.strip() and not line.startswith("#"):
            if current is not None:
                yield current
            current = (number, line, [])
    if current is not None:
        yield current


def _parse_statement(scanner: Scanner, block: Sequence[str], parts: _Parts) -> None:
    if scanner.line[:1] in {"%", "_", "="}:
        _node(scanner, parts)
    else:
        readers: dict[str, Callable[[Scanner, _Parts], None]] = {
            "graph": _head,
            "input": lambda s, p: p.inputs.append(_typed(s, p)),
            "output": lambda s, p: p.outputs.append(s.value()),
            "clip": _clip,
            "gain": _gain,
            "rotated": _rotated,
            "host": _host,
            "region": _region,
            "type": _type,
            "constant": lambda s, p: _constant(s, block, p),
        }
        expected = f"a node, or one of {', '.join(readers)}"
        word = scanner.word(expected)
        if word not in readers:
            raise MalformedTextError(expected, repr(word))
        readers[word](scanner, parts)
        if word == "constant":
            block = ()
    scanner.finish()
    if block:
        raise MalformedTextError("no indented lines here", repr(block[0].strip()[:24]))


def _head(scanner: Scanner, parts: _Parts) -> None:
    parts.name = scanner.string()
    scanner.expect("{")
    scanner.expect("stage=")
    parts.stage = _member(scanner, Stage)
    scanner.expect(",")
    scanner.expect("opset=")
    parts.opset = scanner.integer()
    scanner.expect(",")
    scanner.expect("domains=")
    scanner.expect("(")
    while not scanner.skip(")"):
        if parts.domains:
            scanner.expect(",")
        domain = scanner.string()
        parts.domains.append((domain, scanner.integer()))
    scanner.expect("}")


def _member(scanner: Scanner, kind: type[_Choice]) -> _Choice:
    expected = " or ".join(str(member.value) for member in kind)
    word = scanner.word(expected)
    for member in kind:
        if member.value == word:
            return member
    raise MalformedTextError(expected, repr(word))


def _typed(scanner: Scanner, parts: _Parts) -> str:
    """Read a value and, where it follows, its type."""
    value = scanner.value()
    if scanner.skip(":"):
        parts.types[value] = parse_type(scanner)
    return value


def _type(scanner: Scanner, parts: _Parts) -> None:
    value = scanner.value()
    scanner.expect(":")
    parts.types[value] = parse_type(scanner)


def _listed(scanner: Scanner, last: str, read: Callable[[], _Item]) -> tuple[_Item, ...]:
    found: list[_Item] = []
    while not scanner.skip(last):
        if found:
            scanner.expect(",")
        found.append(read())
    return tuple(found)


def _node(scanner: Scanner, parts: _Parts) -> None:
    outputs = _listed(scanner, "=", lambda: _typed(scanner, parts))
    word = scanner.word("an operator")
    operator = operators().get(word)
    if operator is None:
        raise MalformedTextError("an operator", repr(word))
    name = scanner.string()
    scanner.expect("(")
    inputs = _listed(scanner, ")", scanner.value)
    attributes = parse_attributes(scanner, operator)
    scanner.expect("from")
    scanner.expect("[")
    sources: list[Source] = []
    while not scanner.skip("]"):
        if sources:
            scanner.expect(",")
        source = scanner.string()
        sources.append(Source(source, scanner.string()))
    parts.nodes.append(
        operator(name=name, inputs=inputs, outputs=outputs, sources=tuple(sources), **attributes)
    )


def _clip(scanner: Scanner, parts: _Parts) -> None:
    value = scanner.value()
    scanner.expect(":")
    levels = parse_levels(scanner)
    scanner.expect("*")
    scale = scanner.number()
    parts.clips[value] = Clip(levels, scale, scanner.integer() if scanner.skip("zero") else 0)


def _gain(scanner: Scanner, parts: _Parts) -> None:
    value = scanner.value()
    scanner.expect(":")
    scanner.expect("[")
    parts.gains[value] = _listed(scanner, "]", scanner.number)


def _rotated(scanner: Scanner, parts: _Parts) -> None:
    parts.rotated.append(scanner.value())


def _host(scanner: Scanner, parts: _Parts) -> None:
    name = scanner.string()
    scanner.expect(":")
    parts.reasons[name] = scanner.string()


def _region(scanner: Scanner, parts: _Parts) -> None:
    where = _member(scanner, Where)
    scanner.expect("[")
    parts.regions.append(Region(where, _listed(scanner, "]", scanner.string)))


def _constant(scanner: Scanner, block: Sequence[str], parts: _Parts) -> None:
    value = _typed(scanner, parts)
    scanner.expect("=")
    parts.constants[value] = parse_array(scanner, block, parts.types.get(value))
