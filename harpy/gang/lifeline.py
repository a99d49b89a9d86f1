"""The worker's line to its launcher: hello on stdin, protocol lines on stdout, at EOF it dies.

Takes descriptors 0 and 1 away from user code before any is imported: 0 becomes /dev/null, 1 becomes
stderr. Nothing that a program prints, reads or forks touches the protocol.
"""

from __future__ import annotations

import json
import os
import select
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

from harpy.wire.exit_codes import ECHO

if TYPE_CHECKING:
    from harpy.kernels.liveness import Pulse

PROTOCOL = 1
MAX_HELLO_BYTES = 64 << 10
HELLO_S = 60.0  # the launcher writes it right after the start
MAX_ERROR_CHARS = 16_000
MAX_LINE_CHARS = 4000  # below PIPE_BUF even in UTF-8's usual mix: short lines are written whole


class HelloError(Exception):
    """The launcher said something else than a hello."""


@dataclass(frozen=True)
class Hello:
    """What the launcher tells a worker. `secret` never leaves the process."""

    rank: int
    n_node: int
    attempt: int
    n_thread: int
    job_url: str
    secret: bytes
    bind: str
    port_range: tuple[int, int]
    hadoop_conf_dir: str | None
    memory_mb: int | None = None  # for this process; None: nobody counts
    hadoop_conf: Mapping[str, str] = field(default_factory=dict)  # on top of what the files say

    def __repr__(self) -> str:
        return f"Hello(rank={self.rank}, attempt={self.attempt}, job_url={self.job_url!r})"

    @classmethod
    def from_line(cls, line: bytes) -> Hello:
        try:
            said = json.loads(line)
            if said["protocol"] != PROTOCOL:
                raise ValueError(f"protocol {said['protocol']}, this worker speaks {PROTOCOL}")
            first, last = said.get("port_range") or (0, 0)
            hello = cls(
                rank=int(said["rank"]),
                n_node=int(said["n_node"]),
                attempt=int(said["attempt"]),
                n_thread=int(said["n_thread"]),
                job_url=str(said["job_url"]),
                secret=bytes.fromhex(said["secret"]),
                bind=str(said["bind"]),
                port_range=(int(first), int(last)),
                hadoop_conf_dir=said.get("hadoop_conf_dir") or None,
                memory_mb=int(said.get("memory_mb") or 0) or None,
                hadoop_conf={
                    str(k): str(v) for k, v in dict(said.get("hadoop_conf") or {}).items()
                },
            )
        except (ValueError, KeyError, TypeError) as exc:
            # Never the line itself: it holds the secret.
            raise HelloError(f"the launcher's hello is malformed: {type(exc).__name__}") from None
        if not 0 <= hello.rank < hello.n_node or hello.n_thread < 1 or len(hello.secret) < 32:
            raise HelloError(f"the launcher's hello makes no sense: {hello!r}")
        return hello


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
        """Wait for the first line. HelloError if it is no hello or does not come."""
        line = bytearray()
        deadline = time.monotonic() + HELLO_S
        while not line.endswith(b"\n"):
            if not select.select([self._in], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise HelloError(f"the launcher said no hello within {HELLO_S:g} s")
            # One byte at a time: what follows the line is not ours to swallow.
            piece = os.read(self._in, 1)
            if not piece or len(line) > MAX_HELLO_BYTES:
                raise HelloError("the launcher closed the pipe or wrote no line as its hello")
            line += piece
        return Hello.from_line(bytes(line))

    def watch(self, heartbeat_s: float) -> Pulse:
        """From now on say `heartbeat`, and die when the launcher does: in a native thread, which
        beats on the connections to other workers, too."""
        from harpy.kernels.liveness import Pulse

        self._pulse = Pulse(heartbeat_s)
        self._pulse.tie(self._in, self._out)
        return self._pulse

    def say(self, verb: str, rest: str = "") -> None:
        """One protocol line. A launcher that is gone ends this process."""
        line = f"{verb} {rest}".rstrip() if rest else verb
        data = " ".join(line.splitlines()).encode("utf-8", "replace") + b"\n"
        try:
            with self._lock, self._unbroken(data):
                while data:
                    data = data[os.write(self._out, data) :]
        except OSError:
            die_with_children()

    @contextmanager
    def _unbroken(self, data: bytes) -> Iterator[None]:
        """The system writes what is short in one piece; a heartbeat could break in on the rest."""
        if self._pulse is None or len(data) <= select.PIPE_BUF:
            yield
            return
        self._pulse.hush(True)
        try:
            yield
        finally:
            self._pulse.hush(False)

    def status(self, text: str) -> None:
        self.say("status", text[:MAX_LINE_CHARS])

    def error(self, cause: Mapping[str, Any]) -> None:
        """The worker's own failure; only the first is said."""
        if self._said_error:
            return
        self._said_error = True
        said = dict(cause)
        # Encoded once more on its way through Hadoop, whose text for a failed task is limited.
        while len(json.dumps(json.dumps(said))) > MAX_ERROR_CHARS and said.get("detail"):
            said["detail"] = said["detail"][len(said["detail"]) // 2 + 1 :]
        while len(json.dumps(json.dumps(said))) > MAX_ERROR_CHARS and said.get("message"):
            said["message"] = said["message"][: len(said["message"]) // 2]
        self.say("error", json.dumps(said))


def die_with_children() -> NoReturn:
    """End at once. Where this process leads its group, as under the local launcher, take along what
    the program forked; in a container the node manager does that."""
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(ECHO)
