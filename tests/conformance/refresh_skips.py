"""Write skips.json: run it after a new onnx or onnxruntime, and read what changed.

    PYTHONPATH=src:. python -m tests.conformance.refresh_skips

A test is listed where ONNX Runtime fails on the untouched model as well, or where lowbitc refuses
the model with a coded diagnostic. Any other failure is a defect, and stops this script.
"""

from __future__ import annotations

import json
import re
import sys
from importlib.metadata import version

from lowbitc.compiler.backend import LowbitcBackend
from lowbitc.compiler.codes import CATALOGUE
from tests.conformance.suite import ALONE, DIFFERS, NO_LOCALE, SKIPS, PlainBackend, run_suite

_OF_ONNX_RUNTIME = (
    ("Failed to construct locale", NO_LOCALE),
    ("NOT_IMPLEMENTED", f"{ALONE}it has no kernel for the operator and its types"),
    ("is not a registered function/op", f"{ALONE}it does not know the operator"),
    ("LB191", f"{ALONE}it refuses the model"),
    ("LB192", f"{ALONE}it fails on the data"),
    ("AssertionError", DIFFERS),
    ("TypeError: Unable to compare", f"{ALONE}its result is of another kind than ONNX's reference"),
)


def _reason(ours: str, plain: str) -> str | None:
    if plain:
        return next((said for mark, said in _OF_ONNX_RUNTIME if mark in plain), f"{ALONE}it fails")
    code = re.match(r"CompileError: (LB1[0-8]\d)", ours)
    return f"lowbitc refuses it: {code[1]}, {CATALOGUE[code[1]].title}" if code else None


def main() -> int:
    """Run all tests, and those that fail in ONNX Runtime alone as well."""
    ours = run_suite(LowbitcBackend)
    failed = {name: said for name, said in ours.items() if said}
    plain = run_suite(PlainBackend, set(failed))
    reasons: dict[str, list[str]] = {}
    defects: list[str] = []
    for name, said in sorted(failed.items()):
        if reason := _reason(said, plain[name]):
            reasons.setdefault(reason, []).append(name)
        else:
            defects.append(f"{name}: {said[:300]}")
    counts = {reason: len(names) for reason, names in reasons.items()}
    passed = len(ours) - len(failed)
    sys.stdout.write(json.dumps({"passed": passed, "skipped": counts}, indent=1) + "\n")
    if defects:
        sys.stderr.write("\n".join(["these are defects, not skips:", *defects, ""]))
        return 1
    versions = {name: version(name) for name in ("onnx", "onnxruntime")}
    text = json.dumps({**versions, "reasons": reasons}, indent=1, sort_keys=True)
    SKIPS.write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
