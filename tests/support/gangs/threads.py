"""A gang of threads: the Context that job programs see, for any number of ranks in one process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from harpy.program.checkpoint import Checkpoint, NoCheckpoint
from harpy.storage import CsrRows

DEADLINE_S = 60.0


class Meeting:
    """Where the ranks exchange values, one collective after the other."""

    def __init__(self, size: int) -> None:
        self.slots: list[np.ndarray | None] = [None] * size
        self.barrier = threading.Barrier(size, timeout=DEADLINE_S)

    def exchange(self, rank: int, value: np.ndarray) -> list[np.ndarray]:
        self.slots[rank] = value
        self.barrier.wait()
        values = [np.array(slot) for slot in self.slots]
        self.barrier.wait()
        return values


@dataclass
class ThreadComm:
    rank: int
    size: int
    meeting: Meeting

    def allreduce(self, array: np.ndarray, op: str = "sum") -> np.ndarray:
        values = self.meeting.exchange(self.rank, np.asarray(array))
        assert len({(v.shape, v.dtype) for v in values}) == 1, "ranks disagree on the collective"
        reduce = {"sum": np.add, "max": np.maximum, "min": np.minimum}[op]
        return reduce.reduce(values)

    def allgather(self, array: np.ndarray) -> list[np.ndarray]:
        return self.meeting.exchange(self.rank, np.asarray(array))

    def broadcast(self, array: np.ndarray, root: int = 0) -> np.ndarray:
        return self.meeting.exchange(self.rank, np.asarray(array))[root]

    def barrier(self) -> None:
        self.meeting.barrier.wait()


@dataclass
class Rows:
    """ctx.data[name]: a slice of an array in memory."""

    array: np.ndarray | CsrRows
    rows: range

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    @property
    def dtype(self) -> np.dtype:
        return self.array.dtype

    def describe_row(self, row: int) -> str:
        return f"row {row}"

    def load(self, rows: range | None = None) -> np.ndarray | CsrRows:
        assert rows in (None, self.rows)
        if isinstance(self.array, CsrRows):
            return self.array.read_rows(self.rows.start, self.rows.stop)
        return np.ascontiguousarray(self.array[self.rows.start : self.rows.stop])


@dataclass
class ThreadContext:
    rank: int
    size: int
    n_thread: int
    params: Mapping[str, Any]
    data: Mapping[str, Rows]
    comm: ThreadComm
    watched: bool = True
    memory: int | None = None
    checkpoint: Checkpoint = field(default_factory=NoCheckpoint)
    saved: dict[str, np.ndarray] = field(default_factory=dict)
    reported: list[tuple[float | None, dict[str, Any]]] = field(default_factory=list)

    def progress(self, fraction: float | None = None, **values: Any) -> None:
        self.reported.append((fraction, values))

    def save(self, name: str, array: np.ndarray) -> None:
        self.saved[name] = array

    def log(self, text: str) -> None:
        pass


@dataclass
class GangResult:
    value: Any  # of rank 0
    values: list[Any]
    saved: dict[str, np.ndarray]  # parts of all ranks, one below the other
    contexts: list[ThreadContext]

    @property
    def bits(self) -> tuple[Any, ...]:
        """Of what k-means finds: all of it that must not differ."""
        value = self.value
        return (
            value["cluster_centers"].tobytes(),
            self.saved["labels"].tobytes(),
            float(value["inertia"]).hex(),
            value["n_iter"],
            value["n_distinct"],
            str(value["random_state"]),
        )


def run_gang(
    program: Callable[[Any], Any],
    X: np.ndarray | CsrRows,
    params: Mapping[str, Any],
    *,
    splits: Sequence[int] = (),
    n_thread: int = 1,
    watched: bool = True,
    weights: np.ndarray | None = None,
) -> GangResult:
    """Run `program` on len(splits) + 1 ranks; rank r has the rows between splits r-1 and r. Weights
    (n_rows,) come as the input "sample_weight".

    The first error that is not an echo of another rank's end is raised.
    """
    edges = [0, *splits, len(X)]
    size = len(edges) - 1
    meeting = Meeting(size)
    inputs = {"X": X}
    if weights is not None:
        inputs["sample_weight"] = weights[:, np.newaxis]
    contexts = [
        ThreadContext(
            rank,
            size,
            n_thread,
            dict(params),
            {
                name: Rows(array, range(edges[rank], edges[rank + 1]))
                for name, array in inputs.items()
            },
            ThreadComm(rank, size, meeting),
            watched,
        )
        for rank in range(size)
    ]
    values: list[Any] = [None] * size
    errors: list[BaseException] = []

    def work(rank: int) -> None:
        try:
            values[rank] = program(contexts[rank])
        except BaseException as exc:  # handed to the test's thread
            errors.append(exc)
            meeting.barrier.abort()

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(2 * DEADLINE_S)
        assert not thread.is_alive(), "a rank hangs"
    for error in errors:
        if not isinstance(error, threading.BrokenBarrierError):
            raise error
    if errors:
        raise errors[0]
    saved = {name: np.concatenate([c.saved[name] for c in contexts]) for name in contexts[0].saved}
    return GangResult(values[0], values, saved, contexts)
