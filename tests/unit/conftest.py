"""A unit test stays within its process; what starts another one belongs to tests/local."""

from __future__ import annotations

import multiprocessing.util
import os
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

WAYS = (
    (subprocess.Popen, "__init__"),
    (multiprocessing.util, "spawnv_passfds"),
    *((os, name) for name in ("fork", "forkpty", "posix_spawn", "posix_spawnp", "system")),
)


@pytest.fixture(autouse=True)
def no_process_is_started(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail a test that starts a process, even where the code under test swallows the error."""
    started: list[str] = []

    def refuse(*arguments: Any, **_: Any) -> None:
        started.append(f"{arguments[-1:]}")
        raise RuntimeError("a unit test starts no process")

    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")  # else scikit-learn's joblib asks lscpu for it
    for owner, name in WAYS:
        monkeypatch.setattr(owner, name, refuse)
    yield
    assert not started, f"processes were started ({started}): such a test belongs to tests/local"
