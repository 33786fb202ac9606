"""Engines: what runs a program from its binary alone; all of them give the same bits."""
