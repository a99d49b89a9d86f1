"""A program that says where it is and goes on for as long as it is told: signals can hit it at a
known point. What it gives depends on its parameters alone."""

import time
from pathlib import Path

import numpy as np


def main(ctx):
    """`steps` sums over all ranks, `pause_s` apart; then the file `release` is waited for.

    Every rank makes the file `<reached>.<rank>` after its first; rank 1 raises at step `raise_at`.
    """
    total = np.zeros(3)
    for step in range(ctx.params["steps"]):
        total += ctx.comm.allreduce(np.arange(3.0) + ctx.rank)
        if step == 0 and "reached" in ctx.params:
            Path(f"{ctx.params['reached']}.{ctx.rank}").touch()
        if ctx.rank == 1 and step == ctx.params.get("raise_at"):
            raise ValueError("this program raises on purpose")
        ctx.progress((step + 1) / ctx.params["steps"], step=step)
        time.sleep(ctx.params.get("pause_s", 0.0))
    give_up = time.monotonic() + 120
    while "release" in ctx.params and not Path(ctx.params["release"]).exists():
        if time.monotonic() > give_up:
            raise TimeoutError("the test did not release its program")
        time.sleep(0.02)
    ctx.save("rows", np.full((2, 3), ctx.rank) + total)
    return {"total": total, "n_node": ctx.size}
