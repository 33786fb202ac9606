"""The language of lowbitc: ONNX front end, typed IR, numerics, passes' contract, diagnostics."""
