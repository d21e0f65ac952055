"""Runs the matrix: processes, one cell, what follows it, and many cells at once."""
