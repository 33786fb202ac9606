"""Nodes become JSON and come back as they were; anything else is refused."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest

from lowbitc.compiler.elements import I8
from lowbitc.compiler.ir import quantized as q
from lowbitc.targets.program.codec import CodecError, decode, decode_node, encode_node
from lowbitc.targets.program.program import Port
from tests.program.graphs import every_operator

NODES = [n for n in every_operator().nodes if n.name not in every_operator().host_reasons]


def as_json(node: q.Node) -> dict[str, Any]:
    return cast("dict[str, Any]", json.loads(json.dumps(encode_node(node))))


@pytest.mark.parametrize("node", NODES, ids=lambda n: n.name)
def test_every_operator_comes_back_from_json(node: q.Node) -> None:
    assert decode_node(as_json(node), "node") == node


def test_level_types_and_stages_are_spelled_by_name() -> None:
    staged = next(n for n in NODES if isinstance(n, q.QConv) and n.table)
    written = as_json(staged)
    assert (written["middle"], written["stage"]) == (I8.name, "requantize")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"op": "Conv"}, "unknown operator 'Conv'"),
        ({"stage": "magic"}, "node.stage is not one of"),
        ({"kernel": [3, "3"]}, r"node.kernel\[1\] is not int: '3'"),
        ({"kernel": [3, True]}, r"node.kernel\[1\] is not int: True"),
        ({"kernel": [3, 3.0]}, r"node.kernel\[1\] is not int: 3.0"),
        ({"middle": "float32"}, "node.middle is not a level type"),
        ({"name": None}, "node.name is not str"),
        ({"sources": [{"node": "a"}]}, r"node.sources\[0\] lacks 'op'"),
        ({"extra": 1}, "unknown key 'extra'"),
        ({"inputs": "x"}, "node.inputs is not a list"),
    ],
)
def test_what_is_no_node_is_refused_with_its_place(change: dict[str, Any], message: str) -> None:
    written = {**as_json(next(n for n in NODES if isinstance(n, q.QConv))), **change}
    with pytest.raises(CodecError, match=message):
        decode_node(written, "node")


def test_fields_with_a_default_may_be_missing_others_not() -> None:
    written = as_json(next(n for n in NODES if isinstance(n, q.QConv) and n.groups == 1))
    del written["groups"]
    assert isinstance(decode_node(written, "node"), q.QConv)
    del written["kernel"]
    with pytest.raises(CodecError, match="node lacks 'kernel'"):
        decode_node(written, "node")


def test_optional_fields_take_null() -> None:
    assert decode(Port, {"name": "y", "shape": None, "element": "opaque"}, "port").shape is None
