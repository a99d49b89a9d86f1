"""Programs that are to be disturbed. They leave marks in a folder, by which a test knows when to
strike and what was done twice; marks of all attempts stay.
"""

from __future__ import annotations

import ctypes
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from harpy.jobs import kmeans


def counts(ctx: Any) -> dict[str, Any]:
    """`params["n_iter"]` iterations, one collective each, from the last checkpoint on."""
    marks = Marks(ctx)
    rows = ctx.data["X"].load() if "X" in ctx.data else np.ones((1, 1))
    state = ctx.checkpoint.load() or {"iteration": 0, "sum": np.zeros(1)}
    marks.begin(state["iteration"])
    for iteration in range(state["iteration"], ctx.params["n_iter"]):
        time.sleep(ctx.params["pause_s"])
        total = ctx.comm.allreduce(rows.sum(axis=0)[:1].astype(np.float64) * iteration)
        state = {"iteration": iteration + 1, "sum": state["sum"] + total}
        ctx.checkpoint.save(state)
        marks.iteration(iteration)
    ctx.save("ranks", np.array([ctx.rank]))
    return {"sum": float(state["sum"][0])}


def kmeans_slowly(ctx: Any) -> dict[str, Any]:
    """k-means with a pause in each iteration and, once, where `params["waits"]` says: a mapping of
    "loading", "saving" or "returning" to {rank: seconds}."""
    marks = Marks(ctx)
    pause_s, progress, save = ctx.params.pop("pause_s"), ctx.progress, ctx.save
    waits = ctx.params.pop("waits", {})
    del ctx.params["folder"]
    load = ctx.data["X"].load
    marks.begin(-1)

    def wait(where: str) -> None:
        seconds = waits.get(where, {}).get(str(ctx.rank))
        if seconds and marks.first(where):
            time.sleep(seconds)

    def marked(fraction: float | None = None, **values: Any) -> None:
        progress(fraction, **values)
        if "iteration" in values:
            time.sleep(pause_s)
            marks.iteration(values["iteration"])

    def waiting_load(*arguments: Any) -> Any:
        wait("loading")
        return load(*arguments)

    def waiting_save(*arguments: Any) -> None:
        save(*arguments)
        wait("saving")

    ctx.progress, ctx.save, ctx.data["X"].load = marked, waiting_save, waiting_load
    result = kmeans.main(ctx)
    wait("returning")
    return result


def holds_its_place(ctx: Any) -> None:
    """For `params["seconds"]`."""
    ctx.comm.barrier()
    time.sleep(ctx.params["seconds"])


def holds_the_interpreter(ctx: Any) -> int:
    """Rank `params["rank"]` computes in native code that keeps the interpreter locked."""
    ctx.comm.barrier()
    ctx.save("ranks", np.array([ctx.rank]))
    if ctx.rank == ctx.params["rank"]:
        ctypes.PyDLL(None).sleep(ctx.params["seconds"])
    ctx.comm.barrier()
    return os.getpid()


def rank_1_hangs_once(ctx: Any) -> int:
    """Rank 1 hangs in native code at its first attempt, holding its interpreter's lock."""
    marks = Marks(ctx)
    first = not marks.exist()
    ctx.comm.barrier()
    marks.begin(0)
    if ctx.rank == 1 and first:
        ctypes.PyDLL(None).sleep(600)
    return int(ctx.comm.allreduce(np.ones(1))[0])


class Marks:
    """One file a rank, a line each: what, process, iteration, seconds since the epoch."""

    def __init__(self, ctx: Any) -> None:
        self._path = Path(ctx.params["folder"]) / f"rank-{ctx.rank}"

    def exist(self) -> bool:
        return self._path.exists()

    def begin(self, iteration: int) -> None:
        self._write("begin", iteration)

    def iteration(self, iteration: int) -> None:
        self._write("iteration", iteration)

    def first(self, what: str) -> bool:
        """Mark it; whether this rank, in any of its processes, had not been there before."""
        before = self._path.read_text().splitlines()
        self._write(what, -1)
        return not any(line.startswith(f"{what} ") for line in before)

    def _write(self, what: str, iteration: int) -> None:
        with self._path.open("a") as file:
            file.write(f"{what} {os.getpid()} {iteration} {time.time()}\n")
