"""The rooms of benchmarks/kmeans_peers.py: data, libraries, clocks, marks, the machine, reports."""

import os

# Settings that force a peer's kernels for a processor; without them each chooses the best it has.
# They are read when the libraries are loaded: this comes before.
CHOICES_OF_KERNELS = (
    "OPENBLAS_CORETYPE",
    "OPENBLAS_L2_SIZE",
    "MKL_DEBUG_CPU_TYPE",
    "MKL_ENABLE_INSTRUCTIONS",
)
DROPPED = {name: os.environ.pop(name) for name in CHOICES_OF_KERNELS if name in os.environ}
