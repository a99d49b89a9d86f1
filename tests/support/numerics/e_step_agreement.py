"""Where two E-steps may differ: rows whose two best centers are as good as equally far."""

from __future__ import annotations

import numpy as np

# Relative to |x|² + |c|²: closer than this the two best centers may change places.
E_STEP_SLACK = {np.dtype(np.float32): 1e-5, np.dtype(np.float64): 1e-12}


def clear_differences(
    X: np.ndarray, centers: np.ndarray, labels: np.ndarray, others: np.ndarray
) -> np.ndarray:
    """Rows of X (n, d) whose labels differ though their best center, by distances in float64, is
    better than the second best by more than the slack of X's dtype."""
    differ = np.flatnonzero(labels != others)
    wide, wide_centers = X[differ].astype(np.float64), centers.astype(np.float64)
    squares = np.square(wide[:, None] - wide_centers).sum(axis=2)
    two_best = np.sort(squares, axis=1)[:, :2]
    scale = np.square(wide).sum(axis=1) + np.square(wide_centers[labels[differ]]).sum(axis=1)
    return differ[two_best[:, 1] - two_best[:, 0] > E_STEP_SLACK[X.dtype] * scale]
