"""Compile float ONNX models for a low-bit neuromorphic chip, and simulate it bit for bit."""

from __future__ import annotations

from lowbitc._version import VERSION as __version__

__all__ = ["__version__"]
