"""akd1000: the published limits of a BrainChip AKD1000-class chip; not made by its vendor."""
