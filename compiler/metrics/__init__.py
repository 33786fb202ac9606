"""Measures of a network's outputs: rows a sample, merged in any order, then one figure."""
