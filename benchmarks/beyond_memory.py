"""A fit on files that are larger than the workers' memory, and how much memory they really use.

    harpy cluster up --stock --nodes 2 && eval "$(harpy cluster env)"
    python benchmarks/beyond_memory.py --gb 6 --n-node 2 --n-mem 1536 --plot memory.png

Writes float32 rows as .npy files below the user's home on the cluster's file system, fits them with
`--n-mem` MB a worker (which --stock clusters enforce), samples the workers' memory all the while,
compares the labels of some rows with the centers, and removes the files.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import psutil
from numpy.lib import format as npy

import harpy
from harpy.config import load_hadoop_conf
from harpy.storage import FileSystem, filesystem, join

SAMPLE_S = 0.25
BLOCK_ROWS = 1 << 16
CHECKED_ROWS = 1000
N_BLOBS = 64


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gb", type=float, default=6.0, help="2^30 bytes of rows (default 6)")
    parser.add_argument("--files", type=int, default=6)
    parser.add_argument("--columns", type=int, default=64)
    parser.add_argument("--n-clusters", type=int, default=64)
    parser.add_argument("--max-iter", type=int, default=5)
    parser.add_argument("--n-node", type=int, default=2)
    parser.add_argument("--n-thread", type=int, default=1)
    parser.add_argument("--n-mem", type=int, default=1536, help="MB of a worker's container")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="memory over time")
    return parser.parse_args()


def draw(n_rows: int, n_columns: int, seed: int) -> Iterator[np.ndarray]:
    """Rows about a few centers that overlap, in blocks."""
    centers = np.random.default_rng(0).standard_normal((N_BLOBS, n_columns), dtype=np.float32)
    rng = np.random.default_rng(seed)
    for start in range(0, n_rows, BLOCK_ROWS):
        count = min(BLOCK_ROWS, n_rows - start)
        rows = rng.standard_normal((count, n_columns), dtype=np.float32)
        yield rows + centers[rng.integers(0, N_BLOBS, count)]


def write_rows(fs: FileSystem, path: str, n_rows: int, n_columns: int, seed: int) -> None:
    header = io.BytesIO()
    described = {"descr": "<f4", "fortran_order": False, "shape": (n_rows, n_columns)}
    npy.write_array_header_1_0(header, described)

    def chunks() -> Iterator[bytes | np.ndarray]:
        yield header.getvalue()
        yield from draw(n_rows, n_columns, seed)

    fs.write_chunks(path, chunks)


@dataclass
class Samples:
    """Resident memory (MB) of every worker of this machine, by pid, over time (s)."""

    seconds: list[float] = field(default_factory=list)
    workers: dict[int, list[float]] = field(default_factory=dict)
    driver: list[float] = field(default_factory=list)

    def take(self, seconds: float) -> None:
        self.seconds.append(seconds)
        self.driver.append(psutil.Process().memory_info().rss / 2**20)
        for process in psutil.process_iter(["cmdline", "memory_info"]):
            if "harpy.gang.worker" in (process.info["cmdline"] or ()):
                missed = [0.0] * (len(self.seconds) - 1)
                self.workers.setdefault(process.pid, missed).append(
                    process.info["memory_info"].rss / 2**20
                )
        for column in self.workers.values():
            column.extend([0.0] * (len(self.seconds) - len(column)))


class Sampler:
    """Samples in a thread of its own inside a `with`."""

    def __init__(self) -> None:
        self.samples = Samples()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample)

    def _sample(self) -> None:
        started = time.monotonic()
        while not self._over.wait(SAMPLE_S):
            self.samples.take(time.monotonic() - started)

    def __enter__(self) -> Samples:
        self._thread.start()
        return self.samples

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def plot(samples: Samples, options: argparse.Namespace, path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.add_subplot()
    for number, resident in enumerate(samples.workers.values()):
        axes.plot(samples.seconds, resident, label=f"worker {number}")
    axes.plot(samples.seconds, samples.driver, label="driver", color="0.6")
    axes.axhline(options.n_mem, color="black", linestyle="--", linewidth=1)
    axes.text(0, options.n_mem, " n_mem", va="bottom")
    axes.set(xlabel="seconds", ylabel="resident memory, MB", ylim=(0, 1.15 * options.n_mem))
    share = options.gb * 1024 / options.n_node
    axes.set_title(f"{options.gb:g} GB on {options.n_node} workers: {share:.0f} MB of rows each")
    axes.legend(loc="center right")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.savefig(path, dpi=120)


def main() -> None:
    options = parse_options()
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, {psutil.virtual_memory().total >> 30} GB, "
        f"Python {platform.python_version()}, harpy {harpy.__version__}, numpy {np.__version__}",
        file=sys.stderr,
    )
    conf = load_hadoop_conf({})
    fs = filesystem(conf.default_fs, hadoop_conf=conf)
    folder = join(fs.home(), f"beyond-memory-{os.getpid()}")
    n_rows = int(options.gb * 2**30 / (4 * options.columns * options.files))
    figures: dict[str, float] = {"rows": float(n_rows * options.files)}
    try:
        started = time.monotonic()
        for seed in range(options.files):
            path = join(folder, f"rows-{seed:02d}.npy")
            write_rows(fs, path, n_rows, options.columns, seed)
        figures["written_s"] = time.monotonic() - started
        started = time.monotonic()
        with Sampler() as samples:
            model = harpy.DAALKMeans(
                options.n_clusters,
                options.max_iter,
                n_node=options.n_node,
                n_thread=options.n_thread,
                n_mem=options.n_mem,
                tol=0,
                random_state=0,
            ).fit(folder)
        figures["fit_s"] = time.monotonic() - started
    finally:
        fs.delete(folder, recursive=True)
    some = next(draw(n_rows, options.columns, 0))[:CHECKED_ROWS]
    figures["labels_differ"] = float(np.sum(model.labels_[:CHECKED_ROWS] != model.predict(some)))
    figures["inertia"], figures["iterations"] = model.inertia_, float(model.n_iter_)
    figures["worker_peak_mb"] = max(map(max, samples.workers.values()))
    figures["driver_peak_mb"] = max(samples.driver)
    for name, value in figures.items():
        print(f"{name:16} {value:,.1f}")
    if options.json:
        everything = {"figures": figures, "samples": asdict(samples)}
        options.json.write_text(json.dumps(everything, indent=1))
    if options.plot:
        plot(samples, options, options.plot)


if __name__ == "__main__":
    main()
