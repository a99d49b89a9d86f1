"""What malformed connections to its listeners cost a gang that iterates, half of the time.

    python benchmarks/hostile_connections.py

Two workers of one thread each compute and allreduce without end. In turn they are left alone,
left alone while the besieger (besieger.py) spends as much on a door of its own, and besieged. All
is on one machine: the first ratio has what the besieger takes of its processors, the second has
not.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from peers.machine import describe

import harpy

WARM_UP_S = 5.0
KINDS = ("quiet", "drill", "besieged")
BESIEGER = Path(__file__).parents[1] / "tests" / "support" / "besieger.py"
PROGRAM = '''
"""Iterate like k-means does: a product, then the sums of all."""
import pathlib
import time
import numpy as np

def main(ctx):
    over = pathlib.Path(ctx.params["over"])
    rng = np.random.default_rng(ctx.rank)
    rows = rng.normal(size=(20_000, 64)).astype(np.float32)
    centers = np.ascontiguousarray(rows[:64].T)
    begun = []
    while True:
        begun.append(time.monotonic())
        scores = rows @ centers
        sums = ctx.comm.allreduce(scores[:4096].astype(np.float64).ravel()[:8192])
        if ctx.comm.allreduce(np.array([int(over.exists())]))[0]:
            break
    return {"begun": np.array(begun), "sums": sums}
'''


class Watch:
    """Descriptors and memory of the workers, over time."""

    def __init__(self, processes: list[psutil.Process]) -> None:
        self._processes = processes
        self.seen: list[dict[str, list[float]]] = []

    def sample(self) -> None:
        self.seen.append(
            {
                "descriptors": [p.num_fds() for p in self._processes],
                "mb": [round(p.memory_info().rss / 2**20, 1) for p in self._processes],
                "beside_s": [_beside(p) for p in self._processes],
            }
        )


def _beside(process: psutil.Process) -> float:
    """Processor seconds of all threads but the program's own; the hub's is among them."""
    threads = (t for t in process.threads() if t.id != process.pid)
    return sum(t.user_time + t.system_time for t in threads)


def workers() -> list[psutil.Process]:
    children = psutil.Process().children(recursive=True)
    return [p for p in children if "harpy.gang.worker" in p.cmdline()]


def doors(processes: list[psutil.Process]) -> list[str]:
    """Where they listen: each for its peers, one as the hub."""
    return [
        f"{c.laddr.ip}:{c.laddr.port}"
        for p in processes
        for c in p.net_connections("tcp")
        if c.status == psutil.CONN_LISTEN
    ]


def measure(rate: float, block_s: float, n_blocks: int) -> dict[str, Any]:
    """Alternate `n_blocks` blocks of each kind while one run goes on."""
    with harpy.Session(n_node=2, n_thread=1, launcher="local", progress=False) as session:
        program = Path(str(session.job.url).removeprefix("file://")) / "iterate.py"
        program.write_text(PROGRAM)
        over = program.with_name("over")

        def besiege() -> dict[str, Any]:
            try:
                time.sleep(WARM_UP_S)
                return _alternate(rate, block_s, n_blocks)
            finally:
                over.touch()

        with ThreadPoolExecutor(1) as pool:
            besieging = pool.submit(besiege)
            result = session.run(program, {"over": str(over)})
            report = besieging.result()
    begun = result.value["begun"]
    report["seconds"] = {
        name: [_mean_iteration(begun, start, end) for start, end in blocks]
        for name, blocks in report.pop("blocks").items()
    }
    return report


def _alternate(rate: float, block_s: float, n_blocks: int) -> dict[str, Any]:
    processes = workers()
    addresses = doors(processes)
    watch = Watch(processes)
    blocks: dict[str, list[tuple[float, float]]] = {name: [] for name in KINDS}
    n_connections, cpu_s = 0, 0.0
    besieger = subprocess.Popen(
        [sys.executable, str(BESIEGER), str(rate), *addresses],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert besieger.stdin and besieger.stdout

    def order(what: str) -> list[str]:
        besieger.stdin.write(f"{what}\n")
        besieger.stdin.flush()
        return besieger.stdout.readline().split()

    watch.sample()
    for _ in range(n_blocks):
        for name in blocks:
            if name != "quiet":
                order(name)
            begun = time.monotonic()
            time.sleep(block_s)
            blocks[name].append((begun, time.monotonic()))
            watch.sample()
            if name != "quiet":
                _, count, cpu = order(name)
            if name == "besieged":
                n_connections, cpu_s = n_connections + int(count), cpu_s + float(cpu)
    besieger.stdin.close()
    besieger.wait(10)
    return {
        "doors": len(addresses),
        "connections": n_connections,
        "besieger_cpu_s": round(cpu_s, 2),
        "blocks": blocks,
        "watched": watch.seen,
    }


def _mean_iteration(begun: np.ndarray, start: float, end: float) -> float:
    inside = begun[(begun >= start) & (begun < end)]
    return float((inside[-1] - inside[0]) / (len(inside) - 1))


def tell(report: dict[str, Any], block_s: float) -> None:
    besieged = report["seconds"]["besieged"]
    n_blocks = len(besieged)
    rate = report["connections"] / (n_blocks * block_s)
    print(
        f"{report['connections']} connections in {n_blocks * block_s:g} s ({rate:.0f}/s) to "
        f"{report['doors']} doors; the besieger took {report['besieger_cpu_s']:g} s of a processor"
    )
    for name, seconds in report["seconds"].items():
        print(f"{name:9} mean {1e3 * statistics.mean(seconds):7.3f} ms an iteration")
    for name in KINDS[:2]:
        ratios = [b / q for q, b in zip(report["seconds"][name], besieged, strict=True)]
        print(
            f"besieged / {name}: of the means "
            f"{statistics.mean(besieged) / statistics.mean(report['seconds'][name]):.4f}, "
            f"of neighbouring blocks median {statistics.median(ratios):.4f}, "
            f"min {min(ratios):.4f}, max {max(ratios):.4f}"
        )
    watched = report["watched"]
    spent = np.diff([sum(sample["beside_s"]) for sample in watched])  # a block each
    extra_s = spent[KINDS.index("besieged") :: len(KINDS)].sum() - spent[:: len(KINDS)].sum()
    print(
        f"the workers' other threads took {1e3 * extra_s / report['connections']:.3f} ms of a "
        f"processor for a connection, {100 * extra_s / (n_blocks * block_s):.2f} % of one"
    )
    for what in ("descriptors", "mb"):
        seen = [sample[what] for sample in watched]
        most = [max(of_one) for of_one in zip(*seen, strict=True)]
        print(f"{what:11} by worker: first {seen[0]}, most {most}, last {seen[-1]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rate", type=float, default=200, help="connections a second")
    parser.add_argument("--block", type=float, default=1.0, help="seconds of a block")
    parser.add_argument("--blocks", type=int, default=50, help="of each kind")
    parser.add_argument("--json", action="store_true", help="on stdout")
    options = parser.parse_args()
    about = describe(["harpy", "numpy"])
    about.pop("thread_pools")
    report = measure(options.rate, options.block, options.blocks)
    about["load_after"] = [round(load, 2) for load in os.getloadavg()]
    if options.json:
        print(json.dumps({"machine": about, **report}, indent=1))
        return
    print(json.dumps(about))
    tell(report, options.block)


if __name__ == "__main__":
    main()
