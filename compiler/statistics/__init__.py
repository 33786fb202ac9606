"""Numerical building blocks of calibration and weight binning; knows neither ONNX nor a chip."""
