"""Native kernels: `kmeans` (numerics of one worker), `collective` (bytes between workers) and
`liveness` (heartbeats)."""
