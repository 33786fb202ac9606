"""Text that cannot be read is refused with the line and what was expected there."""

from __future__ import annotations

import numpy as np
import pytest

from lowbitc.compiler.diagnostics import CompileError
from lowbitc.compiler.elements import F32
from lowbitc.compiler.ir.graph import Graph
from lowbitc.compiler.ir.ops import HostOp, Relu
from lowbitc.compiler.ir.types import TensorType
from lowbitc.compiler.text import parse_graph, print_graph, same_graph

_HEAD = 'lowbitc-ir 1\ngraph "g" {stage=imported, opset=13, domains=()}\n'


def _messages(text: str) -> list[str]:
    with pytest.raises(CompileError) as caught:
        parse_graph(text)
    assert {d.code for d in caught.value.diagnostics} == {"LB907"}
    return [d.message for d in caught.value.diagnostics]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('%y = Blur "b" (%x) from []', "line 3: expected an operator, found 'Blur'"),
        (
            '%y = Concat "c" (%x) {axes=1} from []',
            "line 3: expected an attribute of Concat (axis), found 'axes'",
        ),
        (
            '%y = Concat "c" (%x) from []',
            "line 3: expected Concat to have axis, found no attributes",
        ),
        (
            '%y = Concat "c" (%x) {axis=one} from []',
            "line 3: expected an integer, found 'one} from []' in column 28",
        ),
        (
            '%y = Relu "r" (x) from []',
            "line 3: expected a value (%name, or _ where there is none), found 'x) from []'",
        ),
        ('%y = Relu "r" (%x) from [] !', "line 3: expected the end of the line"),
        ("inputs %x", "line 3: expected a node, or one of graph, input, output"),
        ("clip %x : V4 * 0.5", "line 3: expected levels, such as U4 or I8, not V4,"),
        ("region moon []", "line 3: expected device or host, found 'moon'"),
        ("constant %c : float32[3] = (1, 2)", "line 3: expected 3 numbers, found 2"),
        ("constant %c : float32[3] = base64\n  AAAA", "line 3: expected 12 bytes, found 3"),
        ("constant %c : int8[1] = (300)", "line 3: expected numbers of int8[1]"),
        ("constant %c : blob[1] = (3)", "line 3: expected an element type of ONNX, found 'blob'"),
        ("constant %c : U4[1] = (3)", "line 3: expected how levels are stored"),
        ("input %x : float32\n", "line 3: expected '[', found the end of the line"),
        ("output %x\n  stray", "line 3: expected no indented lines here, found 'stray'"),
    ],
)
def test_a_malformed_line_is_named_with_what_was_expected(line: str, expected: str) -> None:
    (message,) = _messages(_HEAD + line + "\n")
    assert message.startswith(expected)


def test_all_malformed_lines_are_reported_at_once() -> None:
    assert len(_messages(_HEAD + "input x\noutput y\n")) == 2


def test_other_texts_and_headless_graphs_are_refused() -> None:
    assert _messages("hello") == ["line 1: expected 'lowbitc-ir 1', found another text"]
    assert _messages("") == ["line 1: expected 'lowbitc-ir 1', found another text"]
    assert _messages("lowbitc-ir 1\n") == [
        "line 2: expected a line that begins with 'graph', found none"
    ]


def test_an_elided_text_is_shorter_and_refused_with_the_reason() -> None:
    array = np.arange(100, dtype=np.float32)
    graph = Graph(
        name="g",
        inputs=("x",),
        outputs=("y",),
        nodes=(
            HostOp(
                name="h",
                inputs=("x",),
                outputs=("y",),
                sources=(),
                domain="",
                op_type="Neg",
                proto=b"\x22\x03Neg" * 10,
            ),
        ),
        types={"c": TensorType((100,), F32)},
        constants={"c": array},
    )
    text = print_graph(graph, elide=True)
    assert len(text) < len(print_graph(graph))
    first, second = _messages(text)
    assert first.startswith("line 5: expected the bytes of the operator")
    assert second.startswith("line 6: expected the bytes of the constant")


def test_comments_blank_lines_and_windows_line_ends_do_not_matter() -> None:
    relu = Relu(name="r", inputs=("x",), outputs=("#y",), sources=())
    graph = Graph(name="g", inputs=("x",), outputs=("#y",), nodes=(relu,))
    text = print_graph(graph).replace("\n", "  # a note\r\n\r\n# more\r\n")
    assert same_graph(parse_graph(text.replace("ir 1  # a note", "ir 1")), graph)
