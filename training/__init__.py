"""Training of quantized networks with PyTorch; nothing else of lowbitc imports torch."""
