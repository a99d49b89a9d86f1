"""How fast one worker loads rows from HDFS into its array, and how much memory that takes.

    harpy cluster up && eval "$(harpy cluster env)" && python benchmarks/read_rates.py

Every reading is a process of its own; beside it pyarrow reads the same Parquet file from a local
disk, and hdfs-native the same bytes without decoding them. The best of the rounds counts.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from peers.alone import resident
from peers.machine import describe

import harpy
from harpy.storage import FileSystem, FileSystems, filesystem
from harpy.storage.rows.loading import open_files

FORMS = ("npy", "parquet", "csv", "csv.gz", "svm", "npz")
# Where rows take long to write or to read, so many of the table are enough to see the rate.
MAX_ROWS = {"csv": 100_000, "csv.gz": 100_000, "svm": 100_000, "npz": 500_000}
UPLOAD_BYTES = 8 << 20


def table(n_rows: int, n_columns: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((n_rows, n_columns), dtype=np.float32)


def write(form: str, path: Path, X: np.ndarray) -> None:
    """One local file of this form."""
    X = X[: MAX_ROWS.get(form)]
    if form == "npy":
        with path.open("wb") as file:
            np.save(file, X)
    elif form == "parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        columns = pa.table({f"c{i}": X[:, i] for i in range(X.shape[1])})
        pq.write_table(columns, path)
    elif form == "npz":
        from scipy.sparse import csr_array, save_npz

        save_npz(path, csr_array(X), compressed=False)
    else:
        text = b"".join(map(_svm_line if form == "svm" else _csv_line, X))
        path.write_bytes(gzip.compress(text, 1) if form == "csv.gz" else text)


def _csv_line(row: np.ndarray) -> bytes:
    return (",".join(map(str, row)) + "\n").encode()


def _svm_line(row: np.ndarray) -> bytes:
    return ("0 " + " ".join(f"{i}:{value}" for i, value in enumerate(row)) + "\n").encode()


def upload(fs: FileSystem, local: Path, url: str) -> None:
    with local.open("rb") as source, fs.create(url, overwrite=True) as target:
        while chunk := source.read(UPLOAD_BYTES):
            target.write(chunk)


# In a process of its own


def load(url: str, n_thread: int) -> int:
    """Load all rows as the only worker; return their bytes in memory."""
    source: Any = open_files(
        harpy.dataset(url, dtype="float32").describe(), FileSystems(), n_thread
    )
    source.agree_on_rows(0, 1, lambda mine: [mine])
    rows = source.read_rows(0, source.shape[0])
    return int(rows.nbytes)


def load_bytes(url: str, n_thread: int) -> int:
    """The file's bytes alone."""
    fs = filesystem(url)
    content = np.empty(fs.stat(url).length, np.uint8)
    fs.read_into(url, 0, content.data)
    return content.nbytes


def load_with_pyarrow(path: str, n_thread: int) -> int:
    """pyarrow.parquet: a table of columns, not yet rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    pa.set_cpu_count(n_thread)
    pa.set_io_thread_count(n_thread)
    found = pq.read_table(path, use_threads=n_thread > 1)
    return int(found.num_rows * found.num_columns * 4)


READERS: dict[str, Callable[[str, int], int]] = {
    "harpy": load,
    "bytes": load_bytes,
    "pyarrow": load_with_pyarrow,
}


def measure(reader: str, url: str, n_thread: int) -> dict[str, float]:
    """Rows' bytes, seconds, and how far the peak of resident memory rose."""
    if url.endswith("parquet"):
        import pyarrow.parquet  # noqa: F401 - a third of a second that is not reading
    before = resident("VmRSS")
    started = time.perf_counter()
    n_bytes = READERS[reader](url, n_thread)
    seconds = time.perf_counter() - started
    return {"bytes": n_bytes, "seconds": seconds, "growth": resident("VmHWM") - before}


def measure_alone(reader: str, url: str, n_thread: int) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, __file__, "--measure", reader, url, "--threads", str(n_thread)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def compare(options: argparse.Namespace, fs: FileSystem, base: str, folder: Path) -> None:
    X = table(options.rows, options.columns)
    readings: dict[str, tuple[str, str]] = {}
    for form in options.form or FORMS:
        local, url = folder / f"x.{form}", f"{base}/x.{form}"
        write(form, local, X)
        upload(fs, local, url)
        readings[f"{form}, harpy from HDFS"] = ("harpy", url)
        readings[f"{form}, harpy from a local file"] = ("harpy", str(local))
        readings[f"{form}, its bytes from HDFS"] = ("bytes", url)
        if form == "parquet":
            readings["parquet, pyarrow from a local file"] = ("pyarrow", str(local))
    del X
    samples: dict[str, list[dict[str, float]]] = {name: [] for name in readings}
    for _ in range(options.repeats):
        for name, (reader, where) in readings.items():
            samples[name].append(measure_alone(reader, where, options.threads))
    report(samples)
    if options.json:
        options.json.write_text(json.dumps(samples, indent=1))


def report(samples: dict[str, list[dict[str, float]]]) -> None:
    print("\n| what | MB | best s | MB/s | all MB/s | memory / array |\n|---|---|---|---|---|---|")
    for name, found in samples.items():
        best = min(found, key=lambda sample: sample["seconds"])
        rates = [sample["bytes"] / sample["seconds"] / 1e6 for sample in found]
        growth = max(sample["growth"] for sample in found)
        print(
            f"| {name} | {best['bytes'] / 1e6:.0f} | {best['seconds']:.2f} | {max(rates):.0f} | "
            f"{', '.join(f'{rate:.0f}' for rate in rates)} | "
            f"{growth / best['bytes']:.2f} ({(growth - best['bytes']) / 1e6:+.0f} MB) |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=4_000_000)
    parser.add_argument("--columns", type=int, default=32)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--form", action="append", choices=FORMS, help="may be repeated")
    parser.add_argument("--url", help="where on HDFS; default: below the home directory")
    parser.add_argument("--json", type=Path, help="every sample, into this file")
    parser.add_argument("--measure", nargs=2, metavar=("READER", "URL"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(*options.measure, options.threads)))
        return
    fs = filesystem(options.url or "hdfs:///")
    base = f"{options.url or fs.home()}/read-rates-{os.getpid()}"
    print(json.dumps(describe(["harpy-yarn", "hdfs-native", "numpy", "pyarrow"]), indent=1))
    folder = Path(tempfile.mkdtemp(prefix="read-rates-"))
    try:
        fs.mkdirs(base)
        compare(options, fs, base, folder)
    finally:
        fs.delete(base, recursive=True)
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
