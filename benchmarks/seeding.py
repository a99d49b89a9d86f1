"""Initial centers by k-means|| beside greedy k-means++: seconds, and what they are worth.

    pip install -e '.[bench]' && python benchmarks/seeding.py

Both in this process, from the same rows, in turn, once for each seed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from peers import data, report
from peers.data import Shape
from peers.machine import describe
from rich.table import Table

from harpy import DAALKMeans
from harpy.jobs.kmeans.parallel_seeding import scalable_plus_plus
from harpy.jobs.kmeans.seeding import plus_plus
from harpy.jobs.kmeans.shard import load_shard
from harpy.program.context import Context

SHAPES = tuple(map(Shape.parse, ("500000x32k256", "200000x16k1000", "100000x64k500")))
METHODS: dict[str, Callable[..., np.ndarray]] = {
    "k-means++": plus_plus,
    "k-means||": scalable_plus_plus,
}
N_ITER = 10
# What one seeding came to.
QUANTITIES = ("seconds", "inertia_seeded", "inertia_iterated")


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", action="append", type=Shape.parse, metavar="NxDkK")
    parser.add_argument("--dtype", action="append", choices=["float32", "float64"])
    parser.add_argument("--data", choices=list(data.DRAWN), default="overlapping")
    parser.add_argument("--seeds", type=int, default=3, help="seedings of each kind (default 3)")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--json", type=Path, metavar="FILE")
    return parser.parse_args()


def seed_once(
    method: str, X: np.ndarray, n_clusters: int, n_thread: int, seed: int
) -> dict[str, float]:
    shard = load_shard(Context.in_process(data={"X": X}, n_thread=n_thread), n_clusters, None, None)
    started = time.perf_counter()
    centers = METHODS[method](shard, n_clusters, np.random.RandomState(seed))
    seconds = time.perf_counter() - started
    usual = {"n_node": 1, "n_thread": n_thread, "launcher": "local"}
    seeded = -DAALKMeans.from_centers(centers, **usual).score(X)
    iterated = DAALKMeans(n_clusters, N_ITER, centers, tol=0, **usual).fit(X).inertia_
    return dict(zip(QUANTITIES, (seconds, seeded, iterated), strict=True))


def measure(shape: Shape, dtype: str, options: argparse.Namespace) -> dict[str, Any]:
    """Medians over the seeds, by method and quantity, and every sample."""
    X = data.draw(shape, options.data, dtype, seed=7).X
    samples: dict[str, list[dict[str, float]]] = {method: [] for method in METHODS}
    for seed in range(options.seeds):
        for method in METHODS:
            print(f"{shape} {dtype} {method}, seed {seed}", file=sys.stderr)
            once = seed_once(method, X, shape.n_clusters, options.threads, seed)
            samples[method].append(once)
    medians = {
        method: {name: statistics.median(once[name] for once in runs) for name in QUANTITIES}
        for method, runs in samples.items()
    }
    return {"shape": str(shape), "dtype": dtype, "medians": medians, "samples": samples}


def table_of(cells: list[dict[str, Any]], options: argparse.Namespace) -> Table:
    title = f"{options.data} data, {options.threads} threads; medians of {options.seeds} seeds"
    table = Table(title=title, title_justify="left")
    for name in ("shape", "dtype", "seeding"):
        table.add_column(name)
    for name in ("seconds", "inertia", f"after {N_ITER} iterations"):
        table.add_column(name, justify="right")
    for cell in cells:
        reference = cell["medians"]["k-means++"]
        for method, found in cell["medians"].items():
            relative = [
                f"{found[name]:.6g} ({found[name] / reference[name]:.3f})"
                for name in QUANTITIES[1:]
            ]
            seconds = f"{found['seconds']:.3f} ({found['seconds'] / reference['seconds']:.2f})"
            table.add_row(cell["shape"], cell["dtype"], method, seconds, *relative)
    return table


def main() -> None:
    options = parse_options()
    out = report.console()
    machine = describe(["harpy-yarn", "numpy"])
    report.print_machine(out, machine, None, [])
    cells = [
        measure(shape, dtype, options)
        for dtype in options.dtype or ["float32", "float64"]
        for shape in options.shape or SHAPES
    ]
    out.print(table_of(cells, options))
    if options.json:
        options.json.write_text(json.dumps({"machine": machine, "cells": cells}, indent=1) + "\n")


if __name__ == "__main__":
    main()
