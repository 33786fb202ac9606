"""lb1: the default chip, a mesh of neural processors that runs all of the integer contract."""
