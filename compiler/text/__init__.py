"""The text form of a graph: prints, and parses back to the same graph.

One line a node, and after the nodes one a constant::

    lowbitc-ir 1
    graph "net" {stage=imported, opset=21, domains=()}
    input %x : float32[1, 3, 8, 8]
    output %y
    %y : float32[1, 2, 8, 8] = Conv "conv" (%x, %w) {kernel=(1, 1), …} from ["/conv" "Conv"]
    constant %w : float32[2, 3, 1, 1] = (1.0, 0.5, 0.25, 0.0, 2.0, 0.125)

Names and texts are quoted as in JSON where they are more than letters, digits and ``_./:-``. An
absent operand is ``_``; ``?`` is a dimension that is not known, ``[*]`` an unknown rank. Large
constants follow their line as base64 of little-endian bytes. ``#`` begins a comment.
"""

from __future__ import annotations

from lowbitc.compiler.text.equality import same_graph
from lowbitc.compiler.text.parser import parse_graph
from lowbitc.compiler.text.printer import print_graph

__all__ = ["parse_graph", "print_graph", "same_graph"]
