"""One run on one rank: load the program, call it with a fresh Context, write its results, report.

Owns the way from a RunSpec to a report, and stopping it on the way. It sends by functions that it
is given; the loop over runs is worker.py.
"""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from harpy.errors import PeerLost
from harpy.gang.outputs import Outputs
from harpy.gang.shards import ShardCache
from harpy.program.checkpoint import CheckpointKeeper, GangCheckpoint
from harpy.program.context import Context
from harpy.program.loading import Function, load_program
from harpy.program.source import ProgramSource
from harpy.storage import JobDirectory
from harpy.wire.failure import Failure
from harpy.wire.message import Message
from harpy.wire.report import Report
from harpy.wire.run_spec import RunSpec
from harpy.wire.to_hub import AskComm, Committed, Pace, Progress, Reported

if TYPE_CHECKING:
    from harpy.program.communicator import Communicator
    from harpy.wire.member import Member

PROGRESS_S = 0.1  # between two messages to the driver
STATUS_S = 0.5  # between two lines to the launcher
PACE_S = 3.0  # between two reports of the part of its time that a rank is busy
ABORT_SIGNAL = signal.SIGUSR1


@dataclass(frozen=True)
class WorkerEnvironment:
    """What an execution needs of its worker."""

    rank: int
    n_node: int
    n_thread: int
    memory: int | None  # bytes
    host: str
    attempt: int
    directory: JobDirectory
    shards: ShardCache
    checkpoints: CheckpointKeeper
    send: Callable[[Message], None]  # to the hub
    say_progress: Callable[[float | None, str], None]  # to the launcher
    form_mesh: Callable[[tuple[Member, ...], int], Communicator]


class Execution:
    """One run in one epoch. The main thread calls it, other threads call `abort` and
    `set_peers`."""

    def __init__(self, spec: RunSpec, epoch: int, env: WorkerEnvironment) -> None:
        self.spec = spec
        self.epoch = epoch
        self._env = env
        self._outputs = Outputs(
            env.directory.run(spec.run), env.rank, env.send if spec.deliver else None
        )
        # The addresses and the epoch; None ends the wait for them.
        self._peers: queue.SimpleQueue[tuple[tuple[Member, ...], int] | None] = queue.SimpleQueue()
        self._communicator: Communicator | None = None
        self._lock = threading.Lock()
        self._abort_reason: str | None = None
        self._interruptible = False  # the main thread is inside the program
        self.ended = threading.Event()  # reported
        self._in_program = False
        self._driver_heard_at = self._launcher_heard_at = -1e9
        self._pace_since, self._inside_before_s = time.monotonic(), 0.0

    # -- main thread -------------------------------------------------------------------------------

    def run(self) -> Failure | None:
        """Execute the program and report to the hub; return the failure, if any."""
        env, started = self._env, time.time()
        failure: Failure | None = None
        try:
            if env.rank == 0:
                self._outputs.describe(_without_arrays(self.spec))
            value = self._call_program()
            if env.rank == 0:
                self._outputs.result(value)
            self._outputs.report(self._report(started, None))
            self._outputs.finish()
        except BaseException as exc:
            self._interruptible = False
            failure = Failure.of_exception(exc, env.rank, env.host, self._in_program)
            if self._abort_reason is not None:
                # It was aborted: whatever it raised only followed.
                failure = replace(failure, echo=True)
        self._send_report(failure)
        self.ended.set()
        if failure is not None:
            # The report goes first, so that the hub knows the cause before the peers' connections
            # break.
            self._leave(f"rank {env.rank} failed")
            self._write_failure(self._report(started, failure))
        return failure

    def commit(self) -> None:
        """Make the run's results final, on rank 0, once all ranks have returned."""
        env = self._env
        try:
            self._outputs.mark_success()
            env.send(Committed(self.spec.run, self.epoch, self._outputs.delivered))
            env.checkpoints.end(self.spec.run)
        except BaseException as exc:
            self._send_report(Failure.of_exception(exc, env.rank, env.host))

    def _call_program(self) -> Any:
        try:
            self._interruptible = True
            self._check_abort()
            program = self._load()
            context = self._context()
            self._in_program = True
            value = program(context)
            self._in_program = False
        finally:
            self._interruptible = False
        self._check_abort()
        if self._communicator is not None:
            self._communicator.close()
        return value

    def _load(self) -> Function:
        spec, directory = self.spec, self._env.directory
        text = None
        if spec.file is not None:
            text = directory.fs.read_bytes(directory.program(spec.file)).decode()
        return load_program(
            ProgramSource(function=spec.function, module=spec.module, text=text, origin=spec.origin)
        )

    def _context(self) -> Context:
        env, spec = self._env, self.spec
        params = spec.params
        if params is None:
            params = env.directory.run(spec.run).read_params()
        env.shards.keep_only(spec.data.values())
        env.checkpoints.begin(spec.run)
        context = Context(
            env.rank,
            env.n_node,
            n_thread=env.n_thread,
            memory=env.memory,
            # The container's folder, which YARN removes; the job directory of a local worker.
            scratch=str(Path.cwd()),
            params=params,
            data={name: self._opener(digest) for name, digest in spec.data.items()},
            form_communicator=self._form_communicator,
            on_progress=self._progress,
            on_save=self._outputs.save,
            on_log=self._log,
        )
        # Only a rank 0 that replaced another one needs the file: it has no state in memory.
        context.checkpoint = GangCheckpoint(
            env.checkpoints, lambda: context.comm, on_file=env.attempt > 0
        )
        return context

    def _opener(self, digest: str) -> Callable[[], Any]:
        return lambda: self._env.shards.open(digest)

    def _form_communicator(self) -> Communicator:
        env = self._env
        if env.n_node == 1:
            from harpy.program.communicator import LocalCommunicator

            return LocalCommunicator()
        env.send(AskComm(self.spec.run, self.epoch))
        # Without a deadline: the hub has one, and an abort ends this wait.
        peers = self._peers.get()
        if peers is None:
            self._check_abort()
            raise PeerLost("the run was aborted")
        communicator = env.form_mesh(*peers)
        with self._lock:
            self._communicator = communicator
        self._check_abort()
        return communicator

    def _progress(self, fraction: float | None, values: dict[str, Any]) -> None:
        env, now = self._env, time.monotonic()
        if now - self._launcher_heard_at > STATUS_S or fraction == 1.0:
            self._launcher_heard_at = now
            env.say_progress(fraction, " ".join(f"{k}={v}" for k, v in values.items()))
        if env.rank == 0 and (now - self._driver_heard_at > PROGRESS_S or fraction == 1.0):
            self._driver_heard_at = now
            plain = {k: _plain(v) for k, v in values.items()}
            env.send(Progress(self.spec.run, fraction, plain))
        if now - self._pace_since > PACE_S:
            self._tell_pace(now)

    def _tell_pace(self, now: float) -> None:
        """Report the part of its time that this rank does not wait for others."""
        inside_s = getattr(self._communicator, "inside_s", None)
        if inside_s is None:
            return  # there are no other ranks, or no communicator yet
        passed = now - self._pace_since
        busy = 1.0 - min(1.0, (inside_s - self._inside_before_s) / passed)
        if self._inside_before_s > 0:
            self._env.send(Pace(self.spec.run, self._env.host, busy))
        self._pace_since, self._inside_before_s = now, inside_s

    def _log(self, text: str) -> None:
        print(f"rank={self._env.rank} {text}", file=sys.stderr, flush=True)

    # -- the end of a run --------------------------------------------------------------------------

    def _report(self, started: float, failure: Failure | None) -> Report:
        env = self._env
        return Report(
            rank=env.rank,
            run=self.spec.run,
            attempt=env.attempt,
            host=env.host,
            pid=os.getpid(),
            state="done" if failure is None else "failed",
            started=started,
            seconds=time.time() - started,
            error=failure,
        )

    def _send_report(self, failure: Failure | None) -> None:
        self._env.send(Reported(self.spec.run, self.epoch, failure))

    def _write_failure(self, report: Report) -> None:
        """Write the report if possible. The driver knows the cause already, which may be the file
        system."""
        self._outputs.close()
        if report.error is not None and report.error.echo:
            return
        try:
            self._outputs.report(report)
            self._outputs.finish()
        except OSError as exc:
            self._log(f"could not write the report of the failure: {exc}")

    # -- from another thread -----------------------------------------------------------------------

    def set_peers(self, members: tuple[Member, ...], epoch: int) -> None:
        """Give the waiting program the addresses of all ranks."""
        self._peers.put((members, epoch))

    def abort(self, reason: str) -> None:
        """Stop the program where it waits for other ranks: in a collective call or for the
        communicator."""
        with self._lock:
            if self._abort_reason is not None:
                return
            self._abort_reason = reason
        self._leave(reason)
        self._peers.put(None)

    def interrupt(self) -> None:
        """Make `on_signal` raise in the main thread, wherever that is. `abort` is tried first,
        since an import that is interrupted may not work again in this process."""
        if self._interruptible:
            signal.pthread_kill(threading.main_thread().ident or 0, ABORT_SIGNAL)

    def _leave(self, reason: str) -> None:
        with self._lock:
            communicator = self._communicator
        if communicator is not None:
            communicator.abort(reason)

    def _check_abort(self) -> None:
        if self._abort_reason is not None:
            raise PeerLost(f"the run was aborted: {self._abort_reason}")

    def on_signal(self, _number: int, _frame: FrameType | None) -> None:
        """Handler of ABORT_SIGNAL; runs in the main thread, wherever that is."""
        if self._interruptible:
            self._interruptible = False  # only once: the program's own clean-up is not interrupted
            self._check_abort()


def _plain(value: Any) -> Any:
    """A value as a number or a short string, for people."""
    if isinstance(value, bool | int | float) or value is None:
        return value
    if getattr(value, "ndim", None) == 0:
        return value.item()
    return str(value)[:200]


def _without_arrays(spec: RunSpec) -> RunSpec:
    """The run as run.json describes it; parameters that hold arrays are in a file of their own."""
    return spec if spec.params is None or _is_json(spec.params) else replace(spec, params=None)


def _is_json(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(map(_is_json, value.values()))
    if isinstance(value, list | tuple):
        return all(map(_is_json, value))
    return value is None or isinstance(value, str | bool | int | float)
