"""Placement (LB5xx): what each code says, why, and what to do."""

from __future__ import annotations

from lowbitc.compiler.codes.code import Code

CODES: tuple[Code, ...] = ()
