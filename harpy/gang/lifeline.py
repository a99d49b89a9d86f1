"""The worker's line to its launcher: hello on stdin, protocol lines on stdout, at EOF it dies.

Keeps descriptors 0 and 1 from user code before any is imported: 0 becomes /dev/null, 1 becomes
stderr. Nothing that a program prints, reads or forks reaches the protocol.
"""

from __future__ import annotations

import os
import select
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

from harpy.errors import ProtocolError
from harpy.wire.exit_codes import ECHO
from harpy.wire.failure import Failure
from harpy.wire.hello import Hello
from harpy.wire.versions import WORKER_LINES

if TYPE_CHECKING:
    from harpy.kernels.liveness import Pulse

MAX_HELLO_BYTES = 64 << 10
HELLO_S = 60.0  # the launcher writes it right after the start
MAX_LINE_CHARS = 4000  # below PIPE_BUF as a rule, also in UTF-8, so that a line is written whole


class HelloError(Exception):
    """The launcher wrote something else than a hello, or nothing."""


class Lifeline:
    """The two pipes to the launcher."""

    def __init__(self) -> None:
        self._in = os.dup(0)  # dup'ed descriptors are close-on-exec: no grandchild holds the pipes
        self._out = os.dup(1)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.close(null)
        os.dup2(2, 1)
        self._lock = threading.Lock()
        self._said_error = False
        self._pulse: Pulse | None = None

    def read_hello(self) -> Hello:
        """Wait for the first line; HelloError if it does not come or is no hello."""
        line = bytearray()
        deadline = time.monotonic() + HELLO_S
        while not line.endswith(b"\n"):
            if not select.select([self._in], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise HelloError(f"the launcher said no hello within {HELLO_S:g} s")
            # One byte at a time: nothing after the line may be consumed.
            piece = os.read(self._in, 1)
            if not piece or len(line) > MAX_HELLO_BYTES:
                raise HelloError("the launcher closed the pipe or wrote no line as its hello")
            line += piece
        try:
            return Hello.from_line(bytes(line))
        except ProtocolError as exc:
            raise HelloError(f"the launcher's {exc}") from None

    def watch(self, heartbeat_s: float) -> Pulse:
        """From now on write heartbeats, and end this process when the launcher ends. A native
        thread does it, which also sends the heartbeats to other workers."""
        from harpy.kernels.liveness import Pulse

        self._pulse = Pulse(heartbeat_s)
        self._pulse.attach_launcher(self._in, self._out)
        return self._pulse

    def greet(self) -> None:
        """Write the worker's first line: the version of the protocol and the process id."""
        self.write_line("hello", f"{WORKER_LINES} {os.getpid()}")

    def write_line(self, verb: str, rest: str = "") -> None:
        """Write one protocol line; end this process if the launcher is gone."""
        line = f"{verb} {rest}".rstrip() if rest else verb
        data = " ".join(line.splitlines()).encode("utf-8", "replace") + b"\n"
        try:
            with self._lock, self._without_heartbeats(data):
                while data:
                    data = data[os.write(self._out, data) :]
        except OSError:
            end_process_group()

    @contextmanager
    def _without_heartbeats(self, data: bytes) -> Iterator[None]:
        """Pause heartbeats during a long write: the system writes only short lines in one piece."""
        if self._pulse is None or len(data) <= select.PIPE_BUF:
            yield
            return
        self._pulse.pause_lines(True)
        try:
            yield
        finally:
            self._pulse.pause_lines(False)

    def status(self, text: str) -> None:
        """Write one line for people."""
        self.write_line("status", text[:MAX_LINE_CHARS])

    def error(self, failure: Failure) -> None:
        """Write the worker's own failure; only the first one."""
        if not self._said_error:
            self._said_error = True
            self.write_line("error", failure.to_line())


def end_process_group() -> NoReturn:
    """End this process at once. Where it leads its group, as under the local launcher, also end
    what the program forked; in a container the node manager does that."""
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(ECHO)
