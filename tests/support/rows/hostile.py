"""Data that breaks careless k-means: what every bit-for-bit test runs over."""

from __future__ import annotations

import numpy as np

DTYPES = (np.float32, np.float64)


def hostile_data(dtype: type, n: int = 700, d: int = 7) -> dict[str, np.ndarray]:
    """Named matrices (n, d) of `dtype`."""
    rng = np.random.default_rng(20)
    blobs = rng.normal(size=(n, d)) + 3 * rng.normal(size=(5, d))[rng.integers(0, 5, n)]
    sign = rng.choice([-1.0, 1.0], (n, d))
    wide = blobs.copy()
    wide[n // 2, 0] = 1e10  # an outlier beside values of order 1
    cases = {
        "blobs": blobs,
        "offset 1e4": blobs + 1e4,
        "columns over 12 decades": blobs * np.logspace(-6, 6, d),
        "log-uniform over 40 binades": sign * np.exp2(rng.uniform(-20, 20, (n, d))),
        "outlier": wide,
        "integers with ties": rng.integers(-2, 3, (n, d)).astype(float),
        "duplicates": np.repeat(blobs[: n // 100 + 1], 100, axis=0)[:n],
        "one constant column": np.where(np.arange(d) == 1, -0.1, blobs),
        "subnormal": blobs * (1e-40 if dtype is np.float32 else 1e-310),
        "signed zeros": np.where(blobs > 0, 0.0, -0.0),
    }
    return {name: np.ascontiguousarray(X, dtype=dtype) for name, X in cases.items()}
