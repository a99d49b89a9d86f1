"""A run in the background whose workers can be found and hurt while it iterates."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from harpy import Session
from tests.support.shell import eventually

PROGRAMS = Path(__file__).parents[1] / "programs" / "disturbed.py"
START_S = 120.0


@dataclass(frozen=True)
class Mark:
    what: str  # "begin", "iteration", or where it waits
    pid: int
    iteration: int
    at: float  # seconds since the epoch


def read_marks(folder: Path, rank: int) -> list[Mark]:
    """What a rank has left, in order; an unfinished line is not read."""
    try:
        lines = (folder / f"rank-{rank}").read_text().splitlines()
    except FileNotFoundError:
        return []
    found = [line.split() for line in lines]
    return [Mark(f[0], int(f[1]), int(f[2]), float(f[3])) for f in found if len(f) == 4]


class Disturbed:
    """`program` of programs/disturbed.py on an open session, in a thread of its own."""

    def __init__(
        self, session: Session, program: str, folder: Path, n_node: int = 2, **options: Any
    ) -> None:
        self._session, self._folder, self._n_node = session, folder, n_node
        self._program = f"{PROGRAMS}:{program}"
        self._options = options
        self._result: Any = None
        self._error: BaseException | None = None
        for path in folder.glob("rank-*"):
            path.unlink()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        params = {"folder": str(self._folder), **self._options.get("params", {})}
        try:
            self._result = self._session.run(
                self._program, params, data=self._options.get("data", {}), timeout_s=600
            )
        except BaseException as exc:  # handed to the caller's thread
            self._error = exc
        self.ended_at = time.time()

    def marks(self, rank: int) -> list[Mark]:
        return read_marks(self._folder, rank)

    def pids(self) -> list[int]:
        """Of all ranks, as they were last seen."""
        return [self.marks(rank)[-1].pid for rank in range(self._n_node)]

    def wait(self, n_more: int = 3) -> None:
        """Until every rank has made so many more iterations."""
        done = [self._n_iterations(rank) for rank in range(self._n_node)]

        def further() -> bool:
            assert self._thread.is_alive(), self._error or "the run is over"
            ranks = range(self._n_node)
            return all(self._n_iterations(rank) >= done[rank] + n_more for rank in ranks)

        eventually(further, START_S, f"the workers did not iterate: {self._error}")

    def wait_for(self, what: str, rank: int) -> int:
        """Until a rank says that it is there; its process."""

        def found() -> int | None:
            assert self._thread.is_alive(), self._error or "the run is over"
            return next((mark.pid for mark in self.marks(rank) if mark.what == what), None)

        return int(eventually(found, START_S, f"rank {rank} was never {what}: {self._error}"))

    def _n_iterations(self, rank: int) -> int:
        return sum(mark.what == "iteration" for mark in self.marks(rank))

    def recovered_s(self, since: float) -> float:
        """Seconds from a moment (of time.time) until all ranks had made one iteration after they
        last began, or until the end of the run if none was left to make."""
        firsts = []
        for rank in range(self._n_node):
            begun = [mark.at for mark in self.marks(rank) if mark.what == "begin"]
            after = [m.at for m in self.marks(rank) if m.what == "iteration" and m.at > begun[-1]]
            firsts.append(after[0] if after else self.ended_at)
        return max(firsts) - since

    def longest_pause_s(self, since: float) -> float:
        """The longest time from one iteration to the next after a moment, of any rank."""
        longest = 0.0
        for rank in range(self._n_node):
            times = [mark.at for mark in self.marks(rank) if mark.what == "iteration"]
            longest = max([longest, *(b - a for a, b in pairwise(times) if b > since)])
        return longest

    def begun_anew(self) -> bool:
        """Whether any rank began a second time."""
        ranks = range(self._n_node)
        return any(sum(m.what == "begin" for m in self.marks(rank)) > 1 for rank in ranks)

    def end(self, timeout_s: float = 300.0) -> Any:
        """The run's result; what it raised is raised here."""
        self._thread.join(timeout_s)
        assert not self._thread.is_alive(), "the run goes on"
        if self._error is not None:
            raise self._error
        return self._result

    def end_whatever(self, timeout_s: float = 300.0) -> None:
        """Wait for the end, good or bad: the session is closed after it."""
        self._thread.join(timeout_s)


def same_bits(a: Any, b: Any) -> bool:
    """Whether two runs of k-means found the very same."""
    return (
        np.array_equal(a.value["cluster_centers"], b.value["cluster_centers"])
        and a.value["inertia"] == b.value["inertia"]
        and a.value["n_iter"] == b.value["n_iter"]
        and np.array_equal(a.arrays["labels"], b.arrays["labels"])
    )


def now() -> float:
    return time.time()
