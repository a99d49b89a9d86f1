#!/usr/bin/env python3
"""Speaks the worker's protocol in place of harpy.gang.worker and then does what it is told by
STAND_IN (a behaviour per rank, comma-separated; the last one counts for all further ranks)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, TextIO


def main() -> int:
    hello = json.loads(sys.stdin.readline())
    behaviours = os.environ["STAND_IN"].split(",")
    behaviour = behaviours[min(hello["rank"], len(behaviours) - 1)]
    if behaviour == "garbage":
        sys.stdout.buffer.write(b"\xff\x00 noise\n" + b"x" * (3 << 20) + b"\nhello kitty\n")
        sys.stdout.flush()
    if behaviour == "unimportable":
        print("No module named 'harpy'", file=sys.stderr)
        return 1
    out = os.fdopen(os.dup(1), "w", buffering=1)
    out.write(f"hello 1 {os.getpid()}\n")
    record(hello)
    return BEHAVIOURS[behaviour](hello, out)


def record(hello: dict[str, Any]) -> None:
    """Write what this worker was given, and who it is, where the test can read it."""
    facts = {
        "hello": {k: v for k, v in hello.items() if k != "secret"},
        "secret_length": len(hello["secret"]),
        "pid": os.getpid(),
        "process_group": os.getpgid(0),
        "parent_group": os.getpgid(os.getppid()),
        "env": {k: os.environ.get(k) for k in ("HADOOP_USER_NAME", "OMP_NUM_THREADS", "EXTRA")},
        "client_conf": (Path(hello["hadoop_conf_dir"]) / "core-site.xml").read_text(),
    }
    path = Path(os.environ["STAND_IN_OUT"]) / f"rank-{hello['rank']}.json"
    path.with_suffix(".part").write_text(json.dumps(facts))
    path.with_suffix(".part").rename(path)


def well(hello: dict[str, Any], out: TextIO) -> int:
    out.write("heartbeat\nprogress 0.5\nstatus half\ncounter harpy calls 3\nbye\n")
    return 0


def raises(hello: dict[str, Any], out: TextIO) -> int:
    error = {
        "kind": "ProgramFailed",
        "message": "ValueError: no such thing",
        "rank": hello["rank"],
        "host": "here",
        "echo": False,
        "detail": 'Traceback (most recent call last):\n  File "p.py", line 3\nValueError: "no" €',
    }
    out.write(f"error {json.dumps(error)}\n")
    return 1


def exits(hello: dict[str, Any], out: TextIO) -> int:
    for i in range(40):
        print(f"line {i} of the worker's own words", file=sys.stderr)
    return 3


def echo(hello: dict[str, Any], out: TextIO) -> int:
    return 75


def killed(hello: dict[str, Any], out: TextIO) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


def silent(hello: dict[str, Any], out: TextIO) -> int:
    time.sleep(120)
    return 0


def stopped(hello: dict[str, Any], out: TextIO) -> int:
    os.kill(os.getpid(), signal.SIGSTOP)
    return 0


def hungry(hello: dict[str, Any], out: TextIO) -> int:
    """Use more memory than the container of 1024 MB has, after a few looks at it."""
    time.sleep(4)
    eaten = b"x" * (1200 << 20)
    return waits(hello, out) + len(eaten)


def grandchild(hello: dict[str, Any], out: TextIO) -> int:
    """Leave a process behind that holds the pipe open."""
    child = subprocess.Popen(["sleep", "60"], stdin=subprocess.DEVNULL)
    (Path(os.environ["STAND_IN_OUT"]) / "grandchild").write_text(str(child.pid))
    out.write("bye\n")
    return 0


def waits(hello: dict[str, Any], out: TextIO) -> int:
    """Live until stdin ends, as a worker does."""

    def beat() -> None:
        while True:
            out.write("heartbeat\n")
            time.sleep(0.5)

    threading.Thread(target=beat, daemon=True).start()
    sys.stdin.read()
    os._exit(0)


BEHAVIOURS = {
    "well": well,
    "garbage": well,
    "raises": raises,
    "exits": exits,
    "echo": echo,
    "killed": killed,
    "silent": silent,
    "stopped": stopped,
    "hungry": hungry,
    "grandchild": grandchild,
    "waits": waits,
}

if __name__ == "__main__":
    sys.exit(main())
