"""The float rewrites in their order: from an imported graph to a folded one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lowbitc.passes.drop_identities import DropIdentities
from lowbitc.passes.fold_batchnorm import FoldBatchnorm
from lowbitc.passes.lower_dense import LowerDense
from lowbitc.passes.mark_folded import MarkFolded
from lowbitc.passes.merge_pads import MergePads

if TYPE_CHECKING:
    from lowbitc.compiler.manager import Pass

FOLDING: tuple[Pass, ...] = (
    DropIdentities(),
    LowerDense(),
    MergePads(),
    FoldBatchnorm(),
    MarkFolded(),
)
"""Passes of stage FOLDED; each keeps the function that the network computes."""
