"""One worker process as its local launcher sees it: its lines, the end of its stderr, how it ended.
A grandchild that keeps the pipes open delays nothing.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
from collections import deque

from harpy.launch.base import AttemptFailure
from harpy.launch.endings import ending, kind_of_ending
from harpy.wire.exit_codes import DONE, ECHO, FIRST_CAUSE, SUPERSEDED
from harpy.wire.failure import Failure

TAIL_LINES = 60  # of stderr, kept for the failure's detail
MAX_LINE = 64 << 10
DRAIN_S = 0.5  # after the end of the process, for what it wrote last


class LocalChild:
    """A started worker. Two threads read its pipes until their end or the process's."""

    def __init__(self, rank: int, attempt: int, process: subprocess.Popen[bytes]) -> None:
        self.rank = rank
        self.attempt = attempt
        self.said_hello = False
        self.progress = 0.0
        self._said_bye = False
        self._process = process
        self._heard_at = time.monotonic()
        self._error: str | None = None
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._killed_because: str | None = None
        self._follower = False
        self._readers = [
            threading.Thread(target=target, name=f"harpy-child-{rank}", daemon=True)
            for target in (self._read_lines, self._read_stderr)
        ]
        for reader in self._readers:
            reader.start()

    def alive(self) -> bool:
        """Whether its process runs."""
        return self._process.poll() is None

    def silent_for(self) -> float:
        """Seconds since its last line."""
        return time.monotonic() - self._heard_at

    @property
    def replaceable(self) -> bool:
        """Whether another attempt may succeed, once this one has failed: it did not report a
        failure of its own."""
        final = self._error is not None and self._process.returncode == FIRST_CAUSE
        return self.said_hello and not final and self._process.returncode != SUPERSEDED

    def failure(self) -> AttemptFailure | None:
        """Why it ended, after the end; None for a good end."""
        self.signal_group(signal.SIGKILL)  # processes that it forked
        self.hang_up()
        deadline = time.monotonic() + DRAIN_S
        for reader in self._readers:
            reader.join(max(0.0, deadline - time.monotonic()))
        if self._process.returncode == DONE and self._said_bye:
            return None
        return AttemptFailure(str(self.attempt), self._why())

    def _why(self) -> Failure:
        code, host, tail = self._process.returncode, socket.gethostname(), "\n".join(self._tail)
        if self._killed_because is not None:
            because = self._killed_because
            return Failure("WorkerLost", because, self.rank, host, tail, self._follower)
        if self._error is not None:
            unsaid = Failure("WorkerLost", "", self.rank, host, tail)
            return Failure.from_line(self._error, unsaid)
        if not self.said_hello and "No module named" in tail:
            python = os.fsdecode(next(iter(self._process.args)))  # type: ignore[arg-type]
            message = (
                f"rank {self.rank}: {python} cannot import harpy; it is not the driver's Python"
            )
            return Failure("InterpreterMissing", message, self.rank, host, tail)
        stage = "" if self.said_hello else " before its first word"
        return Failure(
            kind_of_ending(code),
            f"rank {self.rank} on {host} (process {self._process.pid}) {ending(code, stage)}",
            self.rank,
            host,
            tail,
            echo=code in (ECHO, SUPERSEDED),
        )

    def kill_silent(self, deadline: str) -> None:
        """Kill a worker that is silent, or never wrote a line; `deadline` is the one it passed."""
        stage = "" if self.said_hello else " before its first word"
        self._kill(
            f"rank {self.rank} on {socket.gethostname()} (process {self._process.pid}) was silent "
            f"for {self.silent_for():.0f} s{stage} ({deadline}) and was killed"
        )

    def kill_as_follower(self) -> None:
        """Kill a worker that has not ended by itself after another one failed."""
        if self._killed_because is None:
            self._follower = True
        self._kill(f"rank {self.rank} was ended because another worker failed")

    def _kill(self, reason: str) -> None:
        self._killed_because = self._killed_because or reason
        self.signal_group(signal.SIGKILL)

    def signal_group(self, number: signal.Signals) -> None:
        """Signal the worker and what it forked."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def hang_up(self) -> None:
        """Close its stdin: a worker that still runs then ends itself."""
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()

    # -- reading -----------------------------------------------------------------------------------

    def _read_lines(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            while line := lines.readline(MAX_LINE):
                self._handle_line(line.decode("utf-8", "replace").rstrip("\n"))

    def _handle_line(self, line: str) -> None:
        verb, _, rest = line.partition(" ")
        if not self.said_hello:
            # Lines before the hello are the interpreter's or a site hook's.
            self.said_hello = verb == "hello"
            return
        self._heard_at = time.monotonic()
        if verb == "progress":
            with contextlib.suppress(ValueError):
                self.progress = float(rest)
        elif verb == "bye":
            self._said_bye = True
        elif verb == "error" and self._error is None:
            self._error = rest

    def _read_stderr(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as lines:
            while line := lines.readline(MAX_LINE):
                self._tail.append(line.decode("utf-8", "replace").rstrip("\n"))
