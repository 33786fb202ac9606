"""Write a float graph, or one piece of it, back to ONNX."""

from __future__ import annotations

from lowbitc.compiler.export.model import export_model
from lowbitc.compiler.export.region import export_region
from lowbitc.compiler.export.save import export_model_to_files

__all__ = ["export_model", "export_model_to_files", "export_region"]
