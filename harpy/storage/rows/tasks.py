"""Fetching and decoding parts of files on several threads, with bounded buffers between.

Owns threads and memory. What a task fetches and what its bytes mean is left to its maker.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from harpy.storage.readers.base import Task

_WINDOW_BYTES = 96 << 20  # all buffers between a file and the array
_MAX_FETCHERS = 8


def run(tasks: Iterable[Task], n_thread: int) -> Iterator[Any]:
    """What the tasks decode to, in their order.

    Decoding happens on `n_thread` threads, fetching beside it, and only so far ahead that all
    buffers fit _WINDOW_BYTES. The first error ends it all.
    """
    n_fetchers = min(n_thread + 1, _MAX_FETCHERS)
    pending: deque[tuple[int, Future[Any]]] = deque()
    held = 0
    with (
        ThreadPoolExecutor(n_fetchers, "harpy-fetch") as fetchers,
        ThreadPoolExecutor(n_thread, "harpy-decode") as decoders,
    ):
        try:
            for task in tasks:
                while pending and (
                    held + task.nbytes > _WINDOW_BYTES or len(pending) > 2 * (n_thread + n_fetchers)
                ):
                    held -= pending[0][0]
                    yield pending.popleft()[1].result()
                held += task.nbytes
                pending.append((task.nbytes, _start(task, fetchers, decoders)))
            while pending:
                yield pending.popleft()[1].result()
        finally:
            for _, future in pending:
                future.cancel()
            fetchers.shutdown(wait=True, cancel_futures=True)
            decoders.shutdown(wait=True, cancel_futures=True)


def _start(task: Task, fetchers: ThreadPoolExecutor, decoders: ThreadPoolExecutor) -> Future[Any]:
    fetching = fetchers.submit(task.fetch)
    return decoders.submit(lambda: task.decode(fetching.result()))
