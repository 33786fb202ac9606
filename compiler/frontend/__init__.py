"""Read ONNX models of any supported opset into the typed graph."""

from __future__ import annotations

from lowbitc.compiler.frontend.importer import Imported, import_model

__all__ = ["Imported", "import_model"]
