"""The float rewrites in their order: from an imported graph to a folded one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lowbitc.passes.canonicalise import Canonicalise
from lowbitc.passes.check_batchnorm import CheckBatchnorm
from lowbitc.passes.fold_batchnorm import FoldBatchnorm
from lowbitc.passes.mark_folded import MarkFolded
from lowbitc.passes.note_weight_spread import NoteWeightSpread
from lowbitc.passes.read_quantizers import ReadQuantizers

if TYPE_CHECKING:
    from lowbitc.compiler.manager import Pass

FOLDING: tuple[Pass, ...] = (
    CheckBatchnorm(),
    ReadQuantizers(),
    Canonicalise(),
    FoldBatchnorm(),
    # What was folded away stood between clips, pads and pools that now meet.
    Canonicalise(),
    NoteWeightSpread(),
    MarkFolded(),
)
"""Passes to stage FOLDED; each keeps the function that the network computes."""
