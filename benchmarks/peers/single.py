"""harpy beside the machine instead of peers: share of its peak, threads, memory."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from peers.alone import fit_alone
from peers.data import Shape
from peers.machine import SpeedMeter

# Iterations of the short and of the long fit, whose difference leaves iterations alone.
SHORT, LONG = 2, 12
PEAK_SHARE, READ_SHARE, SPEEDUP = 0.85, 0.80, 1.9
# Long rows and many centers, and rows that few centers meet: where reading them takes longer than
# the multiply-adds, memory binds.
PEAK_SHAPES = tuple(
    map(Shape.parse, ("200000x128k1024", "100000x768k1000", "1000000x64k4", "1000000x64k16"))
)
# By default a fit may take so much beyond X: for each row, and for all else.
BYTES_A_ROW, BYTES_FIXED = 24, 32 * 2**20
# For each number of the centers and thread: an exact sum (three words), the same being gathered,
# the packed center.
BYTES_A_CENTER_VALUE = 64


@dataclass(frozen=True)
class Finding:
    """One measured figure beside what is asked; `asked` None where nothing is."""

    what: str
    shape: str
    dtype: str
    n_thread: int
    got: float
    asked: float | None
    detail: str

    @property
    def reached(self) -> bool:
        if self.asked is None:
            return True
        at_most = self.what in ("memory", "cost of exactness")
        return self.got <= self.asked if at_most else self.got >= self.asked

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"reached": self.reached}


def is_compute_bound(shape: Shape) -> bool:
    return shape.n_columns >= 64 and shape.n_clusters >= 256


def share_of_peak(
    shape: Shape, dtype: str, n_thread: int, seed: int, repeat: int, meter: SpeedMeter
) -> Finding:
    """Rate of exhaustive iterations on uniform data by what binds: the read bandwidth where all
    rows take longer to read than their multiply-adds at the FMA peak, else that peak."""
    meter.measure()
    fits = [(n_thread, SHORT), (n_thread, LONG)]
    done = fit_alone(shape, "uniform", dtype, seed, fits, repeat, HARPY_BOUNDS="off")
    speed = meter.measure()[n_thread]
    (short, whole), n_iter = done["seconds"], done["n_iter"]
    each = (whole - short) / (n_iter[1] - n_iter[0])
    common = (str(shape), dtype, n_thread)
    bytes_read = shape.n_rows * shape.n_columns * np.dtype(dtype).itemsize
    if bytes_read / speed["read"] > shape.flops / speed[dtype]:
        rate, most = bytes_read / each / 1e9, speed["read"]
        detail = f"{rate:.1f} of {most:.1f} GB/s in each iteration"
        return Finding("read bandwidth", *common, rate / most, READ_SHARE, detail)
    rate, most = shape.flops / each / 1e9, speed[dtype]
    of_fit = shape.flops * n_iter[1] / whole / 1e9 / most
    detail = f"{rate:.0f} of {most:.0f} GFLOP/s in each iteration; {of_fit:.0%} in a fit of {LONG}"
    asked = PEAK_SHARE if is_compute_bound(shape) else None
    return Finding("FMA peak", *common, rate / most, asked, detail)


def speedup(
    shape: Shape, kind: str, dtype: str, n_thread: int, seed: int, repeat: int, meter: SpeedMeter
) -> Finding:
    """Whole fits of 10 iterations with one thread by those with `n_thread`, in turn."""
    done = fit_alone(shape, kind, dtype, seed, [(1, 10), (n_thread, 10)], repeat)
    one, all_of_them = done["seconds"]
    speed = meter.measure()
    of_loop = speed[n_thread][dtype] / speed[1][dtype]
    asked = SPEEDUP if n_thread == 2 and of_loop >= SPEEDUP else None
    detail = f"{one:.4f} s and {all_of_them:.4f} s; the FMA loop: {of_loop:.2f}"
    return Finding("speedup", str(shape), dtype, n_thread, one / all_of_them, asked, detail)


def memory(shape: Shape, kind: str, dtype: str, n_thread: int, seed: int) -> Finding:
    """MB that a fit of 3 iterations needs beyond X and the process."""
    done = fit_alone(shape, kind, dtype, seed, [(n_thread, 3)], 1)
    rows = BYTES_A_ROW * shape.n_rows
    centers = BYTES_A_CENTER_VALUE * shape.n_clusters * shape.n_columns * n_thread
    asked = (rows + centers + BYTES_FIXED) / 1e6
    detail = f"MB; rows may take {rows / 1e6:.1f}, centers {centers / 1e6:.1f}"
    return Finding("memory", str(shape), dtype, n_thread, done["growth"] / 1e6, asked, detail)
