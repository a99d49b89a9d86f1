"""What a long life costs: memory, descriptors, threads, processes and files over many runs of one
session, and over many sessions one after the other.

    python benchmarks/long_run.py [--runs 2000] [--sessions 200] [--launcher local]

Prints a line every tenth of the way and, at the end, how much each number grew from the second
tenth to the last; exits with 1 if one of them grew by more than a tenth and its allowance.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import psutil

import harpy
from harpy.config import load_hadoop_conf
from harpy.session import registry
from harpy.storage import filesystem

# What a number may grow by though nothing leaks: allocators and caches settle late.
ALLOWED = {"driver MB": 16, "workers MB": 16, "descriptors": 4, "threads": 3}
POINTS = np.random.default_rng(0).normal(size=(2000, 8))


def counts(fs: Any, workdir: str) -> dict[str, float]:
    """What this process, its children and the work directory hold now."""
    gc.collect()
    me = psutil.Process()
    children = me.children(recursive=True)
    workers = [c for c in children if "harpy.gang.worker" in " ".join(c.cmdline())]
    found = {
        "driver MB": me.memory_info().rss / 1e6,
        "descriptors": me.num_fds(),
        "threads": me.num_threads(),
        "children": len(children),
        "jobs": len(list(registry.all_jobs())),
    }
    if workers:
        found["workers MB"] = sum(w.memory_info().rss for w in workers) / 1e6
        found["worker descriptors"] = sum(w.num_fds() for w in workers)
        found["worker threads"] = sum(w.num_threads() for w in workers)
    found["files"] = n_files(fs, workdir) if fs.exists(workdir) else 0
    return {name: round(value, 1) for name, value in found.items()}


def n_files(fs: Any, url: str) -> int:
    """Files below a directory."""
    entries = fs.list(url)
    return sum(n_files(fs, f"{url}/{e.name}") if e.is_dir else 1 for e in entries)


def watched(
    what: str, n: int, step: Callable[[], Any], measure: Callable[[], dict[str, float]]
) -> list[dict[str, float]]:
    """Make n steps; the counts after every tenth of them."""
    seen = []
    began = time.monotonic()
    for i in range(1, n + 1):
        step()
        if i % max(1, n // 10) == 0:
            seen.append(measure())
            print(f"{what} {i:5d}  {time.monotonic() - began:6.1f} s  {seen[-1]}", flush=True)
    return seen


def growth(seen: list[dict[str, float]]) -> dict[str, float]:
    """From the second measurement to the last, what grew more than it may."""
    first, last = seen[min(1, len(seen) - 1)], seen[-1]
    grown = {name: round(last[name] - first.get(name, 0), 1) for name in last}
    return {
        name: by
        for name, by in grown.items()
        if by > ALLOWED.get(name, ALLOWED.get(name.removeprefix("worker "), 0))
        and by > 0.1 * first.get(name, 0)
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--sessions", type=int, default=200)
    parser.add_argument("--launcher", choices=("local", "yarn"), default="local")
    parser.add_argument("--json", action="store_true", help="One JSON object on stdout at the end.")
    chosen = parser.parse_args()
    load = os.getloadavg()[0]
    versions = (
        f"harpy {harpy.__version__}, Python {platform.python_version()}, NumPy {np.__version__}"
    )
    print(f"{platform.machine()}, {os.cpu_count()} cores, load {load:.1f}; {versions}")
    with tempfile.TemporaryDirectory(prefix="harpy-long-run-") as folder:
        os.environ["HARPY_STATE"] = folder  # jobs of this run alone
        return live(chosen, folder)


def live(chosen: argparse.Namespace, folder: str) -> int:
    """The runs and sessions asked for; the exit code."""
    fs = filesystem(f"file://{folder}")
    if chosen.launcher == "yarn":
        fs = filesystem(load_hadoop_conf().default_fs)
    workdir = f"{fs.home() if chosen.launcher == 'yarn' else f'file://{folder}'}/work"
    options = {
        "n_node": 2,
        "n_thread": 1,
        "n_mem": 1024,
        "launcher": chosen.launcher,
        "workdir": workdir,
    }

    def measure() -> dict[str, float]:
        return counts(fs, workdir)

    grown: dict[str, dict[str, float]] = {}

    if chosen.runs:
        with harpy.Session(progress=False, **options) as session:

            def fit() -> None:
                model = harpy.DAALKMeans(n_clusters=8, max_iter=3, random_state=0, session=session)
                model.fit(POINTS)

            grown["runs"] = growth(watched("run", chosen.runs, fit, measure))

    def whole_session() -> None:
        harpy.DAALKMeans(n_clusters=8, max_iter=3, random_state=0, **options).fit(POINTS)

    if chosen.sessions:
        grown["sessions"] = growth(watched("session", chosen.sessions, whole_session, measure))
    for what, by in grown.items():
        print(f"{what}: {'flat' if not by else f'grew by {by}'}")
    if chosen.json:
        print(json.dumps(grown))
    return 1 if any(grown.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
