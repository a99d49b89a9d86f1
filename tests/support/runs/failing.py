"""Failures as a user meets them: this process as the driver, errors read with a user's eyes."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from harpy import Session
from harpy.errors import HarpyError
from tests.support.cluster.running import RunningCluster
from tests.support.shell import Shell, user_shell

PROGRAMS = Path(__file__).parents[1] / "programs" / "misbehaving.py"
LONGEST_MESSAGE = 16_000  # characters: twenty lines of a log, cut to what a screen can show


def program(name: str) -> str:
    """One of programs/misbehaving.py, as Session.run takes it."""
    return f"{PROGRAMS}:{name}"


@contextmanager
def driver_here(launcher: str, cluster: RunningCluster | None) -> Iterator[Shell]:
    """This process is the driver, in a home of its own, in which nothing may be left."""
    here = cluster if launcher == "yarn" else None
    with user_shell(launcher, here) as shell, pytest.MonkeyPatch.context() as patch:
        if here:
            shell.set(HADOOP_USER_NAME=here.user)  # whoever this process is on this machine
        for name in os.environ.keys() - shell.env.keys():
            patch.delenv(name)
        for name, value in shell.env.items():
            patch.setenv(name, value)
        yield shell
        shell.nothing_left()


def session(shell: Shell, **options: Any) -> Session:
    """Two small workers, unless the options say otherwise."""
    chosen = {"n_node": 2, "n_thread": 1, "n_mem": 512, "progress": False, **options}
    return Session(launcher=shell.launcher, **chosen)


@contextmanager
def told(kind: type[HarpyError], *words: str, within_s: float = 60.0) -> Iterator[Any]:
    """The block ends with this very error in time, and its message is one for people.

    Yields an object whose `value` is the error, once the block has ended.
    """
    began = time.monotonic()
    with pytest.raises(kind) as caught:
        yield caught
    assert time.monotonic() - began < within_s
    error = caught.value
    assert type(error) is kind
    message = str(error)
    for word in words:
        assert re.search(word, message), f"no {word!r} in:\n{message}"
    assert "\tat " not in message, "a Java stack trace"
    assert "Exception:" not in message, "a Java class where words belong"
    assert len(message) < LONGEST_MESSAGE
    assert all(c.isprintable() or c in "\n\t" for c in message)
    assert not getattr(error, "__notes__", []), "cleaning up failed"
