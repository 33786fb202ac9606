"""Compile float ONNX models for a low-bit neuromorphic chip, and simulate it bit for bit."""

from __future__ import annotations

from typing import Final

from lowbitc._version import VERSION

__version__: Final = VERSION

__all__ = ["__version__"]
