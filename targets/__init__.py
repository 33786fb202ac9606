"""Chips: specifications, rules, placement, program container, simulator, cost model."""
