"""The chip's arithmetic: ``spec`` is the single source of truth, for every engine."""
