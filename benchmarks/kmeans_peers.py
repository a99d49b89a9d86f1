"""k-means of harpy beside scikit-learn, sklearnex, FAISS and superkmeans, in one run.

    pip install -e '.[bench]' && python benchmarks/kmeans_peers.py --json out.json --plot out.png

All get the same rows, starts, iterations and threads, in turn. benchmarks/README.md says how to
choose and how to read.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import warnings
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import threadpoolctl
from peers import data, exactness, report, single
from peers.clock import Call, Timings, interleave
from peers.data import Problem, Shape
from peers.libraries import LIBRARIES, Fit, Library, SitsOut, load_libraries
from peers.machine import SpeedMeter, describe
from peers.marks import Cell
from peers.single import Finding
from sklearn.exceptions import ConvergenceWarning

BESIDE_PEERS = ("iterations", "convergence", "seeding", "predict", "sparse")
BESIDE_THE_MACHINE = ("peak", "scaling", "memory", "exactness")
# scikit-learn's own KMeans: it says how many iterations those make that cannot stop by themselves.
REFERENCE = "scikit-learn"
# max_iter and tol of each mode that fits.
ENDS = {"iterations": (10, 0.0), "sparse": (10, 0.0), "convergence": (300, 1e-4)}


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    kinds = [*data.DRAWN, "real"]
    parser.add_argument(
        "--mode", action="append", choices=[*BESIDE_PEERS, *BESIDE_THE_MACHINE, "all"]
    )
    parser.add_argument("--shape", action="append", type=Shape.parse, metavar="NxDkK")
    parser.add_argument("--dtype", action="append", choices=["float32", "float64"])
    parser.add_argument("--data", action="append", choices=[*kinds, "all"])
    parser.add_argument("--library", action="append", choices=[kind.name for kind in LIBRARIES])
    parser.add_argument("--repeat", type=int, default=3, help="rounds of calls (default 3)")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--seed", type=int, default=7, help="of data and starts")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--plot", type=Path, metavar="FILE")
    options = parser.parse_args()
    options.mode = options.mode or ["iterations"]
    if "all" in options.mode:
        options.mode = [*BESIDE_PEERS, *BESIDE_THE_MACHINE]
    options.data = kinds if "all" in (options.data or []) else options.data or ["overlapping"]
    return options


def dtypes_of(mode: str, options: argparse.Namespace) -> list[str]:
    """float64 goes to convergence on demand only: it takes long, and no mark asks for it."""
    return options.dtype or (["float32"] if mode == "convergence" else ["float32", "float64"])


def problems(mode: str, kind: str, dtype: str, options: argparse.Namespace) -> Iterator[Problem]:
    if mode == "sparse":
        for shape in options.shape or data.TEXT_SHAPES:
            yield data.text_collection(shape, dtype, options.seed)
    elif kind == "real":
        for name in data.TABLES:
            yield data.table(name, dtype, options.seed)
    else:
        for shape in options.shape or data.SHAPES:
            yield data.draw(shape, kind, dtype, options.seed)


def measure(
    mode: str, problem: Problem, libraries: list[Library], options: argparse.Namespace, speed: Any
) -> Cell:
    """Time one problem with every library that takes part."""
    calls, absent = {}, {}
    for library in libraries:
        if mode not in library.modes:
            continue
        try:
            library.check(problem)
            calls[library.name] = call_of(mode, problem, library, options.seed)
        except SitsOut as reason:
            absent[library.name] = str(reason)
    timings = interleave(calls, options.repeat, always="harpy")
    fits = {name: fit for name, fit in timings.results.items() if isinstance(fit, Fit)}
    n_iter = {name: fit.n_iter for name, fit in fits.items()}
    dtype = str(problem.X.dtype)
    return Cell(
        mode,
        problem.kind,
        dtype,
        problem.name,
        timings.seconds,
        frozenset(library.name for library in libraries if library.exact) - {"harpy"},
        problem.flops * passes_of(mode, problem, n_iter),
        speed[options.threads][dtype] if speed else None,
        n_iter,
        {name: fit.inertia for name, fit in fits.items() if fit.inertia is not None},
        absent | timings.absent,
    )


def passes_of(mode: str, problem: Problem, n_iter: dict[str, int]) -> int:
    """How often the exhaustive method meets every row with as many centers as there are."""
    if mode == "seeding":  # after the first center a few trials for each
        return 2 + int(math.log(len(problem.starts)))
    return n_iter.get(REFERENCE, 1)


def call_of(mode: str, problem: Problem, library: Library, seed: int) -> Call:
    """What is timed."""
    X, starts = problem.X, problem.starts
    if mode == "seeding":
        return lambda _: library.seed(X, len(starts), seed)
    if mode == "predict":
        predict = library.predictor(starts)
        return lambda _: predict(X)
    max_iter, tol = ENDS[mode]

    def fit(timings: Timings) -> Fit:
        reference = timings.results.get(REFERENCE)
        known = reference is not None and not library.stops
        return library.fit(X, starts, reference.n_iter if known else max_iter, tol)

    return fit


def beside_the_machine(
    mode: str, meter: SpeedMeter | None, options: argparse.Namespace
) -> Iterator[Finding]:
    """harpy alone; of the kinds of data the first that is drawn."""
    kind = next((kind for kind in options.data if kind in data.DRAWN), "overlapping")
    threads, seed, repeat = options.threads, options.seed, options.repeat
    own_shapes = {"exactness": exactness.SHAPES, "peak": single.PEAK_SHAPES}
    shapes = options.shape or own_shapes.get(mode, data.SHAPES)
    for dtype, shape in product(dtypes_of(mode, options), shapes):
        print(f"{mode} {dtype} {shape}", file=sys.stderr)
        if mode == "memory":
            yield single.memory(shape, kind, dtype, threads, seed)
        elif mode == "exactness":
            yield from exactness.costs_of_exactness(shape, kind, dtype, seed, repeat)
        elif mode == "scaling" and meter is not None:
            yield single.speedup(shape, kind, dtype, threads, seed, repeat, meter)
        elif mode == "peak" and meter is not None:
            for n_thread in sorted({1, threads}):
                yield single.share_of_peak(shape, dtype, n_thread, seed, repeat, meter)


def main() -> None:
    options = parse_options()
    warnings.simplefilter("ignore", ConvergenceWarning)
    libraries, missing = load_libraries(options.threads)
    names = [library.name for library in libraries]
    if options.library:
        libraries = [library for library in libraries if library.name in options.library]
    # After the libraries: only pools that are loaded can be limited.
    threadpoolctl.threadpool_limits(options.threads)
    meter, speed = None, None
    try:
        meter = SpeedMeter({1, options.threads})
        speed = meter.measure()
    except RuntimeError as reason:
        missing.append(f"no machine peak, hence no 0.85·peak/peer, peak and scaling: {reason}")
    machine = describe([kind.distribution for kind in LIBRARIES] + ["numpy"])
    out = report.console()
    report.print_machine(out, machine, speed, missing)
    out.print()

    groups: list[list[Cell]] = []
    findings: list[Finding] = []
    for mode in options.mode:
        if mode in BESIDE_THE_MACHINE:
            findings += beside_the_machine(mode, meter, options)
            continue
        kinds = ["text"] if mode == "sparse" else options.data
        for kind, dtype in product(kinds, dtypes_of(mode, options)):
            cells = []
            speed = meter.measure() if meter else None  # again: something may have disturbed it
            for problem in problems(mode, kind, dtype, options):
                print(f"{mode} {kind} {dtype} {problem.name}", file=sys.stderr)
                cells.append(measure(mode, problem, libraries, options, speed))
            groups.append(cells)
            report.print_group(out, cells, names)
    if findings:
        report.print_findings(out, findings)
    if options.json:
        chosen = {name: str(value) for name, value in vars(options).items()}
        report.write_json(options.json, chosen, machine, speed, groups, findings)
    if options.plot and groups:
        report.plot(options.plot, groups, names)


if __name__ == "__main__":
    main()
