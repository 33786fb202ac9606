"""Learning on the chip: neurons of one layer take in new examples, nothing else changes."""
