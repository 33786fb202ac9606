"""Training (LB79x): what each code says, why, and what to do."""

from __future__ import annotations

from lowbitc.compiler.codes.code import Code

CODES: tuple[Code, ...] = (
    Code(
        "LB790",
        "PyTorch is missing",
        "Training needs PyTorch, which is not installed.",
        "It is large, and nothing else in lowbitc needs it.",
        "pip install 'lowbitc[train]'",
    ),
    Code(
        "LB791",
        "Labels cannot train this network",
        "What leaves the chip is not one row of scores for each sample, or has fewer scores than "
        "there are classes in the labels.",
        "Cross entropy needs a score for each class, and no layer on the CPU is trained.",
        "Train toward the float network's outputs (--toward float), or give labels from 0 to the "
        "number of classes less one.",
    ),
    Code(
        "LB792",
        "Checkpoint of another run",
        "The checkpoint cannot be read or written, or was made with another model, data, bits or "
        "schedule.",
        "Going on from it would give a result that no run gives.",
        "Give another --checkpoint, or remove the file to start over.",
    ),
)
