"""The driver of a gang, with real local workers."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import harpy
from harpy.session import driver
from harpy.storage import FileSystem, JobDirectory, stage_array


def returns_at_once(ctx: harpy.Context) -> int:
    return ctx.size


def test_a_run_that_is_over_while_its_rows_are_staged_is_a_success(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARPY_STATE", str(tmp_path / "state"))

    def staged_late(
        fs: FileSystem, directory: str, X: np.ndarray, n_parts: int, watch: Callable[[float], Any]
    ) -> None:
        run = JobDirectory(fs, directory.split("/data/")[0]).run(1)
        deadline = time.monotonic() + 30
        while not run.finished():
            assert time.monotonic() < deadline, "the run did not finish without its rows"
            time.sleep(0.05)
        for _ in range(40):  # until the launcher knows, too, that its workers have left
            watch(0.5)
            time.sleep(0.05)
        stage_array(fs, directory, X, n_parts, watch)

    monkeypatch.setattr(driver, "stage_array", staged_late)
    options = {"launcher": "local", "workdir": str(tmp_path / "work"), "single_run": True}
    with harpy.Session(n_node=2, **options) as session:
        result = session.run(returns_at_once, data={"X": np.zeros((4, 2))})
    assert result.value == 2
    assert list((tmp_path / "work").iterdir()) == []
