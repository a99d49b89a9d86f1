"""harpy's k-means beside that of Spark's MLlib: the same YARN, Parquet file, k, iterations, cores.

    pip install -e '.[bench-spark]'
    harpy cluster up && eval "$(harpy cluster env)" && python benchmarks/spark_mllib.py

Each fit is a process of its own (beside_spark/), timed from its start to its model on HDFS.
benchmarks/README.md says what is equal and what is not.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from peers import data, report
from peers.data import Shape
from peers.machine import describe
from read_rates import upload, write
from rich.table import Table

from harpy.config import load_hadoop_conf
from harpy.storage import FileSystem, filesystem

CHILDREN = Path(__file__).parent / "beside_spark"
DEADLINE_S = 1800.0
WORKER_MB = 3072
VECTOR_MODULE = "--add-modules=jdk.incubator.vector"
# What computes MLlib's blocks. With native BLAS the vector module still does what is too little
# for it.
MATHS = {
    "vector": f"{VECTOR_MODULE} -Ddev.ludovic.netlib.blas.nativeLib=none",
    "native": VECTOR_MODULE,
}


@dataclass(frozen=True)
class Fit:
    """One fit: seconds from the process's start until the centers are there, and the model is."""

    fitted_s: float
    written_s: float
    n_iter: int
    inertia: float


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", type=Shape.parse, default="2000000x32k256", metavar="NxDkK")
    parser.add_argument("--data", choices=list(data.DRAWN), default="overlapping")
    parser.add_argument("--iterations", type=int, default=20)
    parser.add_argument("--few", type=int, default=5, help="iterations of the fits subtracted")
    parser.add_argument("--workers", type=int, default=2, help="of one core each")
    parser.add_argument("--repeat", type=int, default=3, help="fits by harpy; the best counts")
    parser.add_argument("--spark-repeat", type=int, default=1, help="fits by Spark; likewise")
    parser.add_argument("--no-spark", action="store_true", help="fit with harpy alone")
    parser.add_argument("--math", action="append", choices=list(MATHS), help="default: both")
    # "auto" reads all rows once more, to see that they are dense, and then also takes "block".
    parser.add_argument("--solver", choices=["auto", "row", "block"], default="block")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    if not 0 < options.few < options.iterations:
        parser.error(f"--few must be from 1 to {options.iterations - 1}, got {options.few}")
    options.math = [] if options.no_spark else options.math or list(MATHS)
    return options


def stage(options: argparse.Namespace, fs: FileSystem, url: str) -> list[str]:
    """Write the Parquet file to HDFS, float32 columns; return their names."""
    X = data.draw(options.shape, options.data, "float32", seed=7).X
    with tempfile.TemporaryDirectory(prefix="beside-spark-") as folder:
        local = Path(folder) / "rows.parquet"
        write("parquet", local, X)
        upload(fs, local, url)
    return [f"c{j}" for j in range(X.shape[1])]


def spark_settings(options: argparse.Namespace, math: str) -> dict[str, str]:
    """Nothing of Spark is uploaded or unpacked; a fit begins when all executors are there."""
    import pyspark

    jars = Path(pyspark.__file__).parent / "jars"
    return {
        "spark.yarn.jars": f"local:{jars}/*",
        "spark.executor.instances": str(options.workers),
        "spark.executor.cores": "1",
        "spark.executor.memory": f"{WORKER_MB}m",
        "spark.driver.memory": "2g",
        "spark.driver.extraJavaOptions": MATHS[math],
        "spark.executor.extraJavaOptions": MATHS[math],
        "spark.executorEnv.OPENBLAS_NUM_THREADS": "1",
        "spark.executorEnv.OMP_NUM_THREADS": "1",
        "spark.scheduler.minRegisteredResourcesRatio": "1.0",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
    }


def fit(child: str, task: dict[str, Any]) -> Fit:
    """Run one fit in a process of its own.

    Raises
    ------
    SystemExit
        It failed, or made other iterations than asked for.
    """
    started = time.time()
    done = subprocess.run(
        [sys.executable, str(CHILDREN / child), json.dumps(task)],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )
    if done.returncode != 0:
        raise SystemExit(f"{child} ended with {done.returncode}:\n{done.stderr[-4000:]}")
    found = json.loads(done.stdout.splitlines()[-1])
    if found["n_iter"] != task["n_iter"]:
        raise SystemExit(f"{child} made {found['n_iter']} iterations, not {task['n_iter']}")
    return Fit(
        found["fitted_at"] - started,
        found["written_at"] - started,
        found["n_iter"],
        found["inertia"],
    )


class Comparison:
    """All fits of one program run, by who made them and their iterations."""

    def __init__(self, options: argparse.Namespace, fs: FileSystem, base: str) -> None:
        self._options, self._fs, self._base = options, fs, base
        self.fits: dict[str, dict[int, list[Fit]]] = {}

    def run(self) -> None:
        options, base = self._options, self._base
        columns = stage(options, self._fs, f"{base}/rows.parquet")
        common = {
            "rows": f"{base}/rows.parquet",
            "columns": columns,
            "n_clusters": options.shape.n_clusters,
            "seed": 1,
        }
        harpy = {**common, "n_worker": options.workers, "memory_mb": WORKER_MB}
        sparks = {
            f"Spark, {math}": {
                **common,
                "solver": options.solver,
                "settings": spark_settings(options, math),
            }
            for math in options.math
        }
        for n_iter in (options.few, options.iterations):
            self._repeat("harpy", "fit_with_harpy.py", harpy, n_iter, options.repeat)
        for name, task in sparks.items():
            self._repeat(name, "fit_with_spark.py", task, options.few, options.spark_repeat)
        if not sparks:
            return
        # The faster way only goes on to many iterations.
        name = min(sparks, key=lambda name: self.best(name, options.few).fitted_s)
        self._repeat(
            name, "fit_with_spark.py", sparks[name], options.iterations, options.spark_repeat
        )

    def _repeat(
        self, name: str, child: str, task: dict[str, Any], n_iter: int, n_times: int
    ) -> None:
        fits = self.fits.setdefault(name, {}).setdefault(n_iter, [])
        for number in range(n_times):
            model = f"{self._base}/{child}-{len(self.fits)}-{n_iter}-{number}"
            fits.append(fit(child, {**task, "n_iter": n_iter, "model": model}))
            print(f"{name}, {n_iter} iterations: {fits[-1].written_s:.1f} s", file=sys.stderr)

    def best(self, name: str, n_iter: int) -> Fit:
        return min(self.fits[name][n_iter], key=lambda fit: fit.written_s)

    def per_iteration(self, name: str) -> float | None:
        """Seconds, from the best fits of few and of many iterations; None without many."""
        few, many = self._options.few, self._options.iterations
        if many not in self.fits[name]:
            return None
        seconds = self.best(name, many).fitted_s - self.best(name, few).fitted_s
        return seconds / (many - few)


def table_of(comparison: Comparison, options: argparse.Namespace) -> Table:
    title = f"{options.shape}, {options.data}, float32 Parquet on HDFS, {options.workers} workers"
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for n_iter in (options.few, options.iterations):
        table.add_column(f"{n_iter} iterations: s to model", justify="right")
    for name in ("s an iteration", "inertia"):
        table.add_column(name, justify="right")
    reference = comparison.per_iteration("harpy")
    for name, fits in comparison.fits.items():
        cells = []
        for n_iter in (options.few, options.iterations):
            if n_iter not in fits:
                cells.append("")
                continue
            seconds = comparison.best(name, n_iter).written_s
            ratio = seconds / comparison.best("harpy", n_iter).written_s
            cells.append(f"{seconds:.1f} ({ratio:.1f})")
        each = comparison.per_iteration(name)
        cells.append("" if each is None else f"{each:.3f} ({each / reference:.1f})")
        cells.append(f"{comparison.best(name, max(fits)).inertia:.6g}")
        table.add_row(name, *cells)
    return table


def main() -> None:
    options = parse_options()
    out = report.console()
    packages = ["harpy-yarn", "pyarrow", "numpy", *([] if options.no_spark else ["pyspark"])]
    machine = describe(packages)
    report.print_machine(out, machine, None, [])
    fs = filesystem(load_hadoop_conf().default_fs + "/")
    base = f"{fs.home()}/beside-spark-{os.getpid()}"
    comparison = Comparison(options, fs, base)
    try:
        comparison.run()
    finally:
        fs.delete(base, recursive=True)
    out.print(table_of(comparison, options))
    if options.json:
        fits = {
            name: {n_iter: [asdict(fit) for fit in some] for n_iter, some in found.items()}
            for name, found in comparison.fits.items()
        }
        options.json.write_text(json.dumps({"machine": machine, "fits": fits}, indent=1) + "\n")


if __name__ == "__main__":
    main()
