"""The machine the figures were taken on, and what it can do at best, measured in the same run."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import threadpoolctl

from harpy.kernels import kmeans as kernels
from peers import DROPPED

SOURCE = Path(__file__).with_name("machine_speed.cpp")
FLAGS = ("-std=c++17", "-O3", "-march=native")

# Threads -> {"float32": GFLOP/s, "float64": GFLOP/s, "read": GB/s}.
Speed = dict[int, dict[str, float]]


class SpeedMeter:
    """Compiles the loops once; every measurement keeps the best seen so far.

    Raises
    ------
    RuntimeError
        There is no C++ compiler, or it refuses.
    """

    def __init__(self, threads: set[int]) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="machine-speed-")
        self._command = [str(Path(self._folder.name) / "machine_speed"), *map(str, sorted(threads))]
        compile_native(SOURCE, Path(self._command[0]), "-pthread")
        self.best: Speed = {n: {"float32": 0.0, "float64": 0.0, "read": 0.0} for n in threads}

    def measure(self) -> Speed:
        done = subprocess.run(self._command, check=True, capture_output=True, text=True)
        for threads, rates in json.loads(done.stdout).items():
            known = self.best[int(threads)]
            known.update({what: max(rate, known[what]) for what, rate in rates.items()})
        return self.best


def compile_native(source: Path, target: Path, *flags: str) -> None:
    """Compile one file for this machine.

    Raises
    ------
    RuntimeError
        There is no C++ compiler (`CXX`, else g++), or it refuses.
    """
    compiler = os.environ.get("CXX", "g++")
    try:
        subprocess.run(
            [compiler, *FLAGS, *flags, str(source), "-o", str(target)],
            check=True,
            capture_output=True,
            text=True,
        )
    except FileNotFoundError as exc:
        raise RuntimeError(f"no compiler {compiler!r}; name one by CXX") from exc
    except subprocess.CalledProcessError as exc:
        raise RuntimeError(f"{compiler} failed:\n{exc.stderr}") from exc


def describe(distributions: list[str]) -> dict[str, Any]:
    """Processor, memory, versions, and the threads each library's pools have now."""
    model, memory_kb = platform.machine(), 0
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemTotal"):
            memory_kb = int(line.split()[1])
    return {
        "processor": model,
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory_kb / 2**20, 1),
        "load": [round(load, 2) for load in os.getloadavg()],
        "system": platform.platform(),
        "python": platform.python_version(),
        "dropped": DROPPED,
        "instruction_set": kernels.instruction_set(),
        "versions": {name: installed_version(name) for name in distributions},
        "thread_pools": {
            Path(pool["filepath"]).name: pool["num_threads"]
            for pool in threadpoolctl.threadpool_info()
        },
    }


def installed_version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
