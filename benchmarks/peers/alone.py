"""harpy in a process of its own: with other settings in the environment, or to see its memory.

python -m peers.alone '{"shape": "200000x128k1024", "max_iters": [2, 12], …}'
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from peers.data import Shape, draw
from peers.libraries import Harpy


def fit_alone(
    shape: Shape,
    kind: str,
    dtype: str,
    seed: int,
    fits: list[tuple[int, int]],
    repeat: int,
    **environment: str,
) -> dict[str, Any]:
    """Fit drawn rows in a child with this environment: each of `fits` in turn, `repeat` times.

    Parameters
    ----------
    fits : list of (n_thread, max_iter)

    Returns
    -------
    dict
        seconds: the best of each fit; n_iter: what each made; growth: bytes that the peak of
        resident memory rose above what the process held with X before it fitted.
    """
    wish = {"shape": str(shape), "kind": kind, "dtype": dtype, "seed": seed}
    done = subprocess.run(
        [sys.executable, "-m", "peers.alone", json.dumps(wish | {"fits": fits, "repeat": repeat})],
        cwd=Path(__file__).parents[1],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def resident(what: str) -> int:
    """Bytes of this process: "VmRSS" now, "VmHWM" at most since `forget_peak`."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(what):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no {what}")


def forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def main() -> None:
    wish = json.loads(sys.argv[1])
    fits, data = wish["fits"], (wish["kind"], wish["dtype"], wish["seed"])
    tiny = draw(Shape(4096, 8, 4), *data)
    for n_thread, _ in fits:  # imports and threads are no part of a fit
        Harpy(n_thread).fit(tiny.X, tiny.starts, 2, 0.0)
    problem = draw(Shape.parse(wish["shape"]), *data)
    ctypes.CDLL(None).malloc_trim(0)  # else the fit could live on what drawing gave back
    forget_peak()
    before = resident("VmRSS")
    seconds: list[list[float]] = [[] for _ in fits]
    n_iter = [0 for _ in fits]
    for _ in range(wish["repeat"]):
        for i, (n_thread, max_iter) in enumerate(fits):
            started = time.perf_counter()
            n_iter[i] = Harpy(n_thread).fit(problem.X, problem.starts, max_iter, 0.0).n_iter
            seconds[i].append(time.perf_counter() - started)
    growth = resident("VmHWM") - before
    best = [min(taken) for taken in seconds]
    print(json.dumps({"seconds": best, "n_iter": n_iter, "growth": growth}))


if __name__ == "__main__":
    main()
