"""A session of local worker processes driven as a driver would, for tests of the worker loop."""

from __future__ import annotations

import os
import secrets
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from harpy.config import Deadlines
from harpy.launch.base import Demand, GangSpec
from harpy.launch.local.launcher import LocalLauncher
from harpy.session.control import ControlChannel, RunDone
from harpy.storage import JobDirectory, content_hash, filesystem, stage_array
from harpy.wire.job_spec import JobSpec
from harpy.wire.run_spec import RunSpec
from harpy.wire.to_driver import RunFailed, SessionEnded

SOON_S = 15.0  # far below the deadlines that would hide a hang, far above what a busy machine needs
DEADLINES = Deadlines(allocate_s=60, abort_s=2, silence_s=6, collective_s=60, idle_s=60)
HEADER = "import os, signal, subprocess, sys, time\nimport numpy as np\n"


class LocalGang:
    """`n_node` workers, a control channel once `connect` was called, a job directory."""

    def __init__(self, workdir: Path, n_node: int, deadlines: Deadlines = DEADLINES) -> None:
        self.n_node = n_node
        self.deadlines = deadlines
        self.fs = filesystem(f"file://{workdir}")
        self.directory = JobDirectory(self.fs, f"file://{workdir}/job-1")
        self.directory.create()
        self.path = workdir / "job-1"
        self.secret = secrets.token_bytes(32)
        self.launcher = LocalLauncher(deadlines)
        self.control: ControlChannel | None = None
        self.events: list[Any] = []
        self.n_runs = 0

    def program(self, text: str, number: int = 1, **options: Any) -> RunSpec:
        """Ship a program file; `text` follows the usual imports."""
        digest = f"{abs(hash(text)):020d}"[:20]
        path = self.directory.program(digest)
        if not self.fs.exists(path):
            self.fs.write_bytes(path, (HEADER + text).encode())
        options.setdefault("params", {})
        return RunSpec(run=number, file=digest, origin="program.py", **options)

    def stage(self, array: np.ndarray) -> str:
        digest = content_hash(array)
        stage_array(self.fs, self.directory.data(digest), array, n_parts=self.n_node)
        return digest

    def write_job(self, first_run: RunSpec | None = None, **changes: Any) -> None:
        job = JobSpec(
            job_id="job-1",
            owner="tester",
            created=0.0,
            launcher="local",
            n_node=self.n_node,
            n_thread=1,
            n_mem=256,
            queue=None,
            wishes=frozenset(),
            keep_open=first_run is None,
            first_run=first_run,
            max_losses=0,
            deadlines=self.deadlines,
        )
        self.directory.write_job(replace(job, **changes))

    def submit(
        self, first_run: RunSpec | None = None, env: Mapping[str, str] | None = None, **job: Any
    ) -> None:
        self.write_job(first_run, **job)
        self.launcher.open()
        grant = self.launcher.preflight(Demand(self.n_node, 1, 256))
        url, python = self.directory.url, sys.executable
        self.launcher.submit(
            GangSpec(
                "job-1",
                url,
                grant,
                self.secret,
                python,
                "job",
                max_attempts=1 + job.get("max_losses", 0),
                env=env or {},
            )
        )

    def connect(self) -> ControlChannel:
        deadline = time.monotonic() + SOON_S
        while time.monotonic() < deadline:
            for hub in self.directory.rank0_addresses():
                try:
                    self.control = ControlChannel.connect(
                        hub.address, hub.port, self.secret, "job-1", self.deadlines
                    )
                except (ConnectionError, TimeoutError):
                    continue
                return self.control
            time.sleep(0.02)
        raise AssertionError(f"no hub: {self.launcher.status()}")

    def until(self, *kinds: type, timeout_s: float = SOON_S) -> Any:
        """The next event of one of these kinds; all events are kept in `events`."""
        assert self.control is not None
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            event = self.control.next_event(0.1)
            if event is not None:
                self.events.append(event)
            if isinstance(event, kinds):
                return event
        raise AssertionError(f"none of {kinds} came: {self.events}, {self.launcher.status()}")

    def run(self, spec: RunSpec, timeout_s: float = SOON_S) -> RunDone | RunFailed:
        """Offer a run on the control channel; how it ended."""
        control = self.control or self.connect()
        control.start_run(spec)
        return self.until(RunDone, RunFailed, timeout_s=timeout_s)

    def outcome(self, text: str, **options: Any) -> RunDone | RunFailed:
        """The next run of a kept session from its program's text."""
        self.n_runs += 1
        return self.run(self.program(text, self.n_runs, **options))

    def close_session(self) -> None:
        assert self.control is not None
        self.control.close_session()
        self.until(SessionEnded)

    def failures(self) -> dict[int | None, Any]:
        """What the launcher saw, by rank, once all workers are gone."""
        status = self.launcher.wait(SOON_S)
        assert status.state.ended, status
        return {failed.failure.rank: failed.failure for failed in status.failures}

    def processes(self) -> list[psutil.Process]:
        """The workers and all they started."""
        pids = [child._process.pid for child in self.launcher._children]
        found = []
        for process in psutil.process_iter(["pid"]):
            try:
                # The machine's first process may be slow to collect orphans that are dead.
                if os.getpgid(process.pid) in pids and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except (ProcessLookupError, psutil.NoSuchProcess):
                continue
        return found


@contextmanager
def local_gang(workdir: Path, n_node: int = 2, **options: Any) -> Iterator[LocalGang]:
    """A gang that leaves no process behind, however the test ends; fails if it would have."""
    gang = LocalGang(workdir, n_node, **options)
    try:
        yield gang
        gang.launcher.wait(SOON_S)
        deadline = time.monotonic() + 3
        while gang.processes() and time.monotonic() < deadline:
            time.sleep(0.05)
        left = gang.processes()
        assert not left, f"left behind: {left}"
    finally:
        if gang.control is not None:
            gang.control.close()
        gang.launcher.kill("the test is over")
        gang.launcher.close()
