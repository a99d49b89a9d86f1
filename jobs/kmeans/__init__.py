"""K-means as map-collective programs: `main` fits, `predict` labels and `inertia` scores rows.

Owns what happens between workers; arithmetic is left to harpy.kernels.kmeans. docs/numerics.md
defines every number, so that any number of workers and threads gives the same bits.
"""

from harpy.jobs.kmeans.lloyd import main
from harpy.jobs.kmeans.nearest import inertia, predict

__all__ = ["inertia", "main", "predict"]
