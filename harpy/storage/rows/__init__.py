"""Rows wherever they are: in memory, staged for workers, in files, spilled to a worker's disk."""
