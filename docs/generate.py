"""Write the pages that are made from the code: diagnostics.md and supported-operators.md.

    python docs/generate.py

A test fails when a page is stale.
"""

from __future__ import annotations

from pathlib import Path

from lowbitc.compiler.codes import CATALOGUE
from lowbitc.targets.registry import TARGETS, load_target
from lowbitc.targets.spec import ANY, Target

_NOTE = "<!-- Made by docs/generate.py; edit the code, not this page. -->\n"


def diagnostics_page() -> str:
    """Return the page of all codes; `lowbitc explain CODE` prints the same text."""
    parts = [
        "# Diagnostics\n",
        _NOTE,
        "What each code says, why, and what to do. `lowbitc explain CODE` prints the same.\n",
    ]
    for code in sorted(CATALOGUE):
        entry = CATALOGUE[code]
        parts.append(f"## {code}: {entry.title}\n")
        parts.append(f"{entry.what}\n\n{entry.why}\n\n**What to do:** {entry.remedy}\n")
    return "\n".join(parts)


def operators_page() -> str:
    """Return the page of what each target runs, from its rules."""
    parts = ["# Supported operators\n", _NOTE]
    parts.append(
        "What a target runs on the chip. Everything else runs on the CPU, and "
        "`lowbitc check MODEL.onnx` says which node, and why. Operators are named as lowbitc names "
        "them after folding: Dense stands for Gemm and MatMul with constant weights, ScaleShift "
        "for batch norm and loose Mul and Add of constants, Upsample for a nearest Resize, Clamp "
        "for Clip.\n"
    )
    for name in TARGETS:
        parts += _target(load_target(name))
    return "\n".join(parts)


def _target(target: Target) -> list[str]:
    widths = {
        "weights of the first layer": target.first_weight_bits,
        "weights": target.weight_bits,
        "activations behind a clip": target.activation_bits,
        "signed activations": target.signed_activation_bits,
    }
    parts = [f"## {target.name}: {target.title}\n"]
    parts += [f"- {what}: {', '.join(map(str, bits))} bits" for what, bits in widths.items()]
    memory = target.mesh.memory
    unit = " and an input unit" if target.mesh.input_unit else ""
    parts.append(
        f"- {target.mesh.processors} neural processors{unit}, each with "
        f"{memory.weight_bytes:,} bytes for weights and output stages and "
        f"{memory.activation_bytes:,} bytes for activations\n"
    )
    parts.append("Operators: " + ", ".join(sorted(target.operators)) + ".\n")
    parts.append(
        "| code | rule | operators | what to do | source |\n| --- | --- | --- | --- | --- |"
    )
    for rule in sorted(target.rules, key=lambda r: (r.code, r.text)):
        held = "all" if ANY in rule.ops else ", ".join(sorted(target.operators & {*rule.ops}))
        if not held:
            continue
        parts.append(f"| {rule.code} | {rule.text} | {held} | {rule.hint} | {rule.source} |")
    parts.append("")
    parts.append("Figures of the cost model:\n")
    parts.append("| figure | value | unit | basis | source |\n| --- | --- | --- | --- | --- |")
    parts += [
        f"| {key} | {figure.value:g} | {figure.unit} | {figure.basis} | {figure.source} |"
        for key, figure in target.figures.items()
    ]
    parts.append("")
    return parts


PAGES = {"diagnostics.md": diagnostics_page, "supported-operators.md": operators_page}


def main() -> None:
    """Write every page beside this script."""
    for name, page in PAGES.items():
        (Path(__file__).parent / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
