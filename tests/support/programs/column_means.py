"""A program of a few lines: the weighted means of the columns of all workers' rows."""

from __future__ import annotations

from typing import Any

import numpy as np


def main(ctx: Any) -> dict[str, Any]:
    data = ctx.data["X"]
    rows = np.asarray(data.load(), dtype=np.float64)
    weights = np.ones(len(rows))
    if "sample_weight" in ctx.data:
        weights = np.asarray(ctx.data["sample_weight"].load(data.rows)[:, 0], dtype=np.float64)
    total = ctx.comm.allreduce(np.append(weights @ rows, weights.sum()))
    return {"mean": total[:-1] / total[-1], "weight": float(total[-1])}
