"""Broken invariants of lowbitc itself (LB9xx): what each code says, why, and what to do."""

from __future__ import annotations

from lowbitc.compiler.codes.code import Code

_REPORT = "Report it with the model (or its structure) and the command; the pass named is at fault."

CODES: tuple[Code, ...] = (
    Code(
        "LB900",
        "Internal error",
        "lowbitc met a state that its authors thought impossible.",
        "Going on could give a program that is silently wrong.",
        "Report it with the model (or its structure) and the command.",
    ),
    Code(
        "LB901",
        "A value is used before it is defined",
        "A verifier found a node that reads a value that no earlier node, input or constant makes.",
        "The graph of a stage must be in topological order.",
        _REPORT,
    ),
    Code(
        "LB902",
        "A value is defined twice",
        "Two nodes, inputs or constants make a value of the same name.",
        "Each value has one definition.",
        _REPORT,
    ),
    Code(
        "LB903",
        "A value has no type, or a wrong one",
        "A verifier found a value whose shape or element type is missing or contradicts its node.",
        "Every later step sizes memory and scales from the types.",
        _REPORT,
    ),
    Code(
        "LB904",
        "A node does not belong in this stage",
        "A verifier found an operator that an earlier pass should have rewritten.",
        "Each stage allows a narrower set of operators than the one before.",
        _REPORT,
    ),
    Code(
        "LB905",
        "The numbers changed in a pass",
        "--verify-numerics ran the graph before and after a pass and the outputs differ by more "
        "than the tolerance.",
        "A float rewrite must keep the function; a difference is a defect of the pass.",
        _REPORT,
    ),
    Code(
        "LB906",
        "A check that was asked for could not run",
        "--verify-numerics or another requested check could not be carried out.",
        "A check that silently does not run is worse than none.",
        "See the message for the reason; leave the option out to go on without the check.",
    ),
    Code(
        "LB907",
        "The text form cannot be parsed",
        "The text of an IR graph is not what `lowbitc dump` prints.",
        "The text form parses back to the same graph only when it is complete.",
        "Dump again without --elide, or mend the line that is named.",
    ),
    Code(
        "LB908",
        "The outputs of the node list lack a name",
        "A graph output is not made by any node, input or constant.",
        "Every output must be reachable.",
        _REPORT,
    ),
    Code(
        "LB909",
        "How far a pass moved the numbers",
        "--verify-numerics ran the graph before and after a pass, and says how far its outputs "
        "moved; or that the check does not apply to that pass.",
        "Float rewrites move results by rounding only; rounding weights moves them more, and "
        "integer operators are checked against the integer specification instead.",
        "Nothing needs to be done.",
    ),
)
