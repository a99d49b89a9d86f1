"""Seconds from call to labels for a small fit: one job on YARN, a kept session, in this process.

    harpy cluster up && eval "$(harpy cluster env)" && python benchmarks/fit_latency.py

Data: scikit-learn's digits (1797 x 64), n_clusters=10, max_iter=10. The median counts.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import sklearn
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits

import harpy


def timed(call: Callable[[], object], repeats: int) -> list[float]:
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return seconds


def measure(repeats: int, launcher: str) -> dict[str, list[float]]:
    X = load_digits().data
    common = {"n_clusters": 10, "max_iter": 10, "random_state": 0}
    results = {
        "scikit-learn": timed(lambda: KMeans(init="random", n_init=1, **common).fit(X), repeats),
        "local, n_node=1": timed(
            lambda: harpy.DAALKMeans(**common, n_thread=1, launcher="local").fit(X), repeats
        ),
    }
    gang = {"n_node": 2, "n_thread": 1}
    results[f"{launcher}, n_node=2, one job each"] = timed(
        lambda: harpy.DAALKMeans(**common, **gang, launcher=launcher).fit(X), repeats
    )
    with harpy.Session(**gang, launcher=launcher) as session:
        model = harpy.DAALKMeans(**common, session=session)
        results[f"{launcher}, n_node=2, first fit of a session"] = timed(lambda: model.fit(X), 1)
        results[f"{launcher}, n_node=2, later fits of a session"] = timed(
            lambda: model.fit(X), repeats
        )
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--launcher", choices=["yarn", "local"], default="yarn")
    parser.add_argument("--json", action="store_true", help="on stdout")
    options = parser.parse_args()
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    versions = (
        f"harpy {harpy.__version__}, scikit-learn {sklearn.__version__}, numpy {np.__version__}"
    )
    print(f"{machine}, {versions}", file=sys.stderr)
    results = measure(options.repeats, options.launcher)
    if options.json:
        print(json.dumps(results, indent=1))
        return
    for name, seconds in results.items():
        print(
            f"{name:45} median {statistics.median(seconds):8.4f} s"
            f"   min {min(seconds):8.4f}   max {max(seconds):8.4f}   of {len(seconds)}"
        )


if __name__ == "__main__":
    main()
