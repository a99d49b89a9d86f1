"""Native kernels: `kmeans` (numerics of one worker) and `collective` (bytes between workers)."""
