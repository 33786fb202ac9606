"""Placement: which neural processor holds which part of which layer, and when."""
