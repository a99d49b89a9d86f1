"""Calls into code that may hang, with a deadline; what follows then is left to the caller."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Stalled(Exception):
    """The call made no progress for `seconds`; it is abandoned, and its thread runs on."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"no progress for {seconds:g} s")
        self.seconds = seconds


class WatchedCall(Generic[T]):
    """Runs `function(self)` in a daemon thread; `result` waits while it makes progress.

    Native code that blocks cannot be interrupted, so the call is abandoned instead: `function`
    must stop touching the caller's buffers once `abandoned` is true. A waiting main thread can
    still be interrupted with Ctrl-C, which abandons the call as well.
    """

    def __init__(self, function: Callable[[WatchedCall[T]], T]) -> None:
        self.abandoned = False
        self._function = function
        self._finished = threading.Event()
        self._progress_at = time.monotonic()
        self._value: T
        self._error: BaseException | None = None

    def progressed(self) -> None:
        """Note progress; `function` calls it whenever some bytes have moved."""
        self._progress_at = time.monotonic()

    def result(self, stall_s: float) -> T:
        """Start, wait and return what `function` returned, or raise what it raised.

        Stalled when `stall_s` seconds passed since the start or the last progress.
        """
        self._progress_at = time.monotonic()
        threading.Thread(target=self._run, name="harpy-storage", daemon=True).start()
        try:
            while not self._finished.wait(self._progress_at + stall_s - time.monotonic()):
                if time.monotonic() >= self._progress_at + stall_s:
                    raise Stalled(stall_s)
        except BaseException:
            self.abandoned = True
            raise
        if self._error is not None:
            raise self._error
        return self._value

    def _run(self) -> None:
        try:
            self._value = self._function(self)
        except BaseException as exc:
            self._error = exc
        finally:
            self._finished.set()
