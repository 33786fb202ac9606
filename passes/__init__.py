"""Graph rewrites, one a file, named by the verb."""
