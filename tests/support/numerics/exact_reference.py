"""docs/numerics.md in exact rational arithmetic: slow, and not sharing a line with the kernels."""

from __future__ import annotations

from fractions import Fraction

import numpy as np


def rounded(value: Fraction, dtype: type) -> np.floating:
    """The nearest number of `dtype`, ties to even."""
    near = dtype(float(value))
    around = {near, np.nextafter(near, dtype(np.inf)), np.nextafter(near, dtype(-np.inf))}
    bits = np.uint32 if dtype is np.float32 else np.uint64
    return min(around, key=lambda v: (abs(Fraction(float(v)) - value), int(v.view(bits)) & 1))


def fused(a: np.floating, b: np.floating, c: np.floating, dtype: type) -> np.floating:
    """a·b + c rounded once."""
    return rounded(Fraction(float(a)) * Fraction(float(b)) + Fraction(float(c)), dtype)


def labels(X: np.ndarray, centers: np.ndarray, offset: np.ndarray) -> list[int]:
    """Nearest centers by the score, ties to the lowest index."""
    dtype = X.dtype.type
    shifted_centers = centers - offset
    half_norms = []
    for center in shifted_centers:
        norm = np.float64(0)
        for value in center:
            norm = fused(value, value, norm, np.float64)
        half_norms.append(dtype(0.5 * norm))
    found = []
    for row in X - offset:
        scores = []
        for center, half_norm in zip(shifted_centers, half_norms, strict=True):
            score = half_norm
            for x, c in zip(row, center, strict=True):
                score = fused(-x, c, score, dtype)
            scores.append(score)
        found.append(int(np.argmin(scores)))
    return found


def squared_norm(differences: np.ndarray) -> np.float64:
    """Of float64 differences: eight chains over the columns modulo 8, and a tree."""
    sums = [np.float64(0)] * 8
    for j, difference in enumerate(differences):
        sums[j % 8] = fused(difference, difference, sums[j % 8], np.float64)
    s0, s1, s2, s3, s4, s5, s6, s7 = sums
    return ((s0 + s4) + (s2 + s6)) + ((s1 + s5) + (s3 + s7))


def exact_mean(values: np.ndarray) -> Fraction:
    return sum((Fraction(float(v)) for v in values), Fraction(0)) / len(values)
