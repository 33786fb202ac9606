"""Measures of a program's outputs."""
