"""Training and the program agree, and where they do not it is counted."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

import lowbitc

if TYPE_CHECKING:
    from lowbitc.training.network import QuantizedNetwork

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install 'lowbitc[train]'")

from lowbitc.compilation import Retraining, compile_with, silent  # noqa: E402 - after the check
from lowbitc.options import settle  # noqa: E402
from lowbitc.training.agreement import compare_levels  # noqa: E402
