"""The worker process: `python -m harpy.gang.worker`. Hello, join, runs until the end, exit code.

Owns the process: its descriptors, signals, threads and how it ends. One run is execution.py.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NoReturn

from harpy.gang.lifeline import HelloError, Lifeline
from harpy.wire.exit_codes import DONE, ECHO, FIRST_CAUSE, SUPERSEDED, UNREACHABLE
from harpy.wire.failure import Failure

if TYPE_CHECKING:
    from harpy.errors import PeerLost
    from harpy.gang.execution import Execution, WorkerEnvironment
    from harpy.gang.hub import Hub
    from harpy.gang.link import Link
    from harpy.kernels.liveness import Pulse
    from harpy.program.communicator import Communicator
    from harpy.storage import JobDirectory
    from harpy.wire import to_worker
    from harpy.wire.hello import Hello
    from harpy.wire.job_spec import JobSpec
    from harpy.wire.member import Member
    from harpy.wire.message import Message

# Read by numerical libraries when they are loaded, which is later.
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "ARROW_IO_THREADS",
)
HEARTBEAT_S = 1.0  # to launcher and gang
HUB_LINGER_S = 10.0
LAST_WORD_S = 3.0  # for the launcher of a lost worker to report how that ended
TELL_S = 1.0
# Before the first interruption of a program that must stop, and between further ones.
INTERRUPT_S = 0.5


def main() -> NoReturn:
    """Run one worker from its hello to its exit code; never returns."""
    # Before anything that could print or fork.
    lifeline = Lifeline()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    # After a crash in native code stderr then has the program's lines, which the launcher shows.
    faulthandler.enable()
    lifeline.greet()
    try:
        hello = lifeline.read_hello()
    except HelloError as exc:
        print(f"harpy worker: {exc}", file=sys.stderr)
        os._exit(FIRST_CAUSE)
    pulse = lifeline.watch(HEARTBEAT_S)
    pulse.report_termination()
    for variable in THREAD_VARIABLES:
        os.environ[variable] = str(hello.n_thread)
    # Nodes are shared: threads must not spin while they wait for the next iteration.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ["HARPY_INSIDE_WORKER"] = "1"
    code = _run_worker(hello, lifeline, pulse)
    if code == DONE:
        lifeline.write_line("bye")
    sys.stdout.flush()
    sys.stderr.flush()
    # Not sys.exit: a program's leftover threads must not keep a finished worker alive.
    os._exit(code)


def _run_worker(hello: Hello, lifeline: Lifeline, pulse: Pulse) -> int:
    """Everything after the hello. One of the two functions that catch every exception."""
    import socket

    try:
        from harpy.errors import PeerUnreachable
        from harpy.gang.link import SessionOver, Superseded
    except ImportError as exc:
        lifeline.error(Failure("ConfigError", str(exc), hello.rank))
        return FIRST_CAUSE
    try:
        return Worker(hello, lifeline, pulse).run()
    except Superseded as exc:
        print(f"harpy worker: {exc}", file=sys.stderr)
        return SUPERSEDED
    except SessionOver as exc:
        lifeline.status(str(exc))
        return DONE if exc.well else ECHO
    except PeerUnreachable as exc:
        host = socket.gethostname()
        cause = Failure.of_exception(exc, hello.rank, host, in_program=False)
        lifeline.error(cause)
        return UNREACHABLE
    except BaseException as exc:
        cause = Failure.of_exception(exc, hello.rank, socket.gethostname())
        print(cause.detail, file=sys.stderr)
        lifeline.error(cause)
        return ECHO if cause.echo else FIRST_CAUSE


@dataclass(frozen=True)
class HubLost:
    """A message to the main thread: find another hub."""


class Worker:
    """One rank of one session."""

    def __init__(self, hello: Hello, lifeline: Lifeline, pulse: Pulse) -> None:
        import socket

        self._hello = hello
        self._lifeline = lifeline
        self._pulse = pulse
        self._host = socket.gethostname()
        self._execution: Execution | None = None
        self._link: Link | None = None
        self._hub: Hub | None = None
        self._own_failure: Failure | None = None  # of the last run, if it was no echo
        threading.excepthook = self._on_thread_crash

    def run(self) -> int:
        """Join, execute runs, leave; return the exit code."""
        from harpy.gang.link import SessionOver
        from harpy.storage import JobDirectory, filesystem

        hello = self._hello
        fs = filesystem(hello.job_url, hello.hadoop_conf, hello.hadoop_conf_dir)
        directory = JobDirectory(fs, hello.job_url)
        job = directory.read_job()
        if hello.attempt > 0:
            # Only a later attempt can find the session over: no rank leaves before all have joined.
            single = None if job.keep_open else job.first_run
            if single is not None and directory.run(single.run).finished():
                directory.publish_end(well=True)
                return DONE
            well = directory.session_ended()
            if well is not None:
                raise SessionOver(well)
        self._prepare(job, directory)
        if hello.rank == 0:
            from harpy.gang.rank0 import host_hub

            self._hub = host_hub(hello, job, directory, self._pulse, self._on_hub_crash)
        while True:
            self._lifeline.status("joining")
            self._join(job, directory)
            code = self._serve()
            if code is not None:
                return code
            self._lifeline.status("rank 0 is gone: waiting for its replacement")

    # -- joining -----------------------------------------------------------------------------------

    def _prepare(self, job: JobSpec, directory: JobDirectory) -> None:
        """Make what outlives the hubs that this worker joins: its rows, its checkpoints, and the
        socket that accepts its peers."""
        from harpy.gang.execution import ABORT_SIGNAL, WorkerEnvironment
        from harpy.gang.listening import listen
        from harpy.gang.shards import ShardCache
        from harpy.program.checkpoint import CheckpointKeeper
        from harpy.storage import FileSystems

        hello, deadlines = self._hello, job.deadlines
        listener = listen(hello.bind, hello.port_range, backlog=hello.n_node + 16)
        self._listening: tuple[str, int] = listener.getsockname()[:2]
        self._deadlines = deadlines

        def form_mesh(members: tuple[Member, ...], epoch: int) -> Communicator:
            from harpy.gang.mesh import form_mesh
            from harpy.program.communicator import MeshCommunicator

            return MeshCommunicator(
                form_mesh(hello.rank, members, epoch, listener, hello.secret, job.job_id, deadlines)
            )

        self._environment: WorkerEnvironment = WorkerEnvironment(
            rank=hello.rank,
            n_node=hello.n_node,
            n_thread=hello.n_thread,
            memory=None if hello.memory_mb is None else hello.memory_mb << 20,
            host=self._host,
            attempt=hello.attempt,
            directory=directory,
            shards=ShardCache(
                directory,
                deadlines.stage_s,
                FileSystems(hello.hadoop_conf, hello.hadoop_conf_dir),
                hello.n_thread,
            ),
            checkpoints=CheckpointKeeper(directory, hello.rank == 0, deadlines.checkpoint_s),
            send=self._send,
            say_progress=self._say_progress,
            form_mesh=form_mesh,
        )
        signal.signal(ABORT_SIGNAL, self._on_abort_signal)

    def _join(self, job: JobSpec, directory: JobDirectory) -> None:
        from harpy.gang.link import Link, join_hub
        from harpy.wire.auth import Identity, Role

        me = Identity(Role.WORKER, self._hello.rank, self._hello.attempt)
        channel = join_hub(
            directory, self._hello.secret, me, self._listening, self._pulse, job.deadlines
        )
        self._link = Link(channel, job.deadlines.heartbeat_s, self._on_message, self._on_hub_lost)
        self._link.start()
        self._lifeline.status("joined")

    def _send(self, message: Message) -> None:
        assert self._link is not None
        self._link.send(message)

    # -- runs --------------------------------------------------------------------------------------

    def _serve(self) -> int | None:
        """Handle the queued messages until the session ends; return the exit code, or None if the
        hub is gone."""
        from harpy.gang.execution import Execution
        from harpy.wire import to_worker

        assert self._link is not None
        while True:
            match self._link.next_message():
                case Execution() as execution:
                    self._lifeline.status(f"run {execution.spec.run}")
                    self._own_failure = None
                    failure = execution.run()
                    if failure is not None and not failure.echo:
                        self._own_failure = failure
                        print(failure.detail or failure.message, file=sys.stderr, flush=True)
                case to_worker.CommitRun(run, epoch):
                    current = self._current(run, epoch)
                    if current is not None:
                        current.commit()
                case to_worker.EndSession() as end:
                    return self._end(end)
                case HubLost():
                    self._link.close()
                    return None

    def _current(self, run: int, epoch: int) -> Execution | None:
        """The execution that was begun last, if it is the one that a message is about."""
        execution = self._execution
        if execution is None or (execution.spec.run, execution.epoch) != (run, epoch):
            return None
        return execution

    def _end(self, message: to_worker.EndSession) -> int:
        """Leave; return an exit code that says whether the failure was this worker's. Rank 0 also
        reports the failure of workers that are gone."""
        assert self._link is not None
        self._link.close()
        if self._hub is not None:
            self._hub.join(HUB_LINGER_S)
        cause, rank = message.cause, self._hello.rank
        if cause is None:
            self._lifeline.status(message.reason)
            return DONE
        if cause.rank == rank and not cause.echo:
            self._lifeline.error(cause)
            return FIRST_CAUSE
        if rank == 0 and cause.kind == "WorkerLost":
            # The launcher of the lost worker first reports how that ended. Then this error ends the
            # job, since no worker needs to be replaced any more.
            time.sleep(LAST_WORD_S)
            self._lifeline.error(replace(cause, echo=True))
            return FIRST_CAUSE
        self._lifeline.error(self._echo_of(cause))
        return ECHO

    def _echo_of(self, cause: Failure) -> Failure:
        where = f"rank {cause.rank} failed: " if cause.rank is not None else ""
        message = f"{where}{cause.message}"
        return Failure("PeerLost", message, self._hello.rank, self._host, echo=True)

    # -- from other threads ------------------------------------------------------------------------

    def _on_message(self, message: to_worker.ToWorker) -> bool:
        """Handle messages that cannot wait until the program returns."""
        from harpy.gang.execution import Execution
        from harpy.wire import to_worker

        match message:
            case to_worker.StartRun(spec, epoch):
                # Made here and not in the main thread: an abort may follow immediately.
                self._execution = Execution(spec, epoch, self._environment)
                assert self._link is not None
                self._link.put(self._execution)
                return True
            case to_worker.Peers(run, epoch, members):
                current = self._current(run, epoch)
                if current is not None:
                    current.set_peers(members, epoch)
                return True
            case to_worker.AbortRun(run, epoch, reason):
                self._abort(self._current(run, epoch), reason)
                return True
            case to_worker.Superseded():
                os._exit(SUPERSEDED)
        return False

    def _abort(self, execution: Execution | None, reason: str) -> None:
        if execution is None or execution.ended.is_set():
            return
        execution.abort(reason)
        threading.Thread(
            target=self._enforce_abort, args=(execution, reason), name="harpy-abort", daemon=True
        ).start()

    def _enforce_abort(self, execution: Execution, reason: str) -> None:
        """Interrupt the program until it stops; end the process if it does not."""
        deadline = time.monotonic() + self._deadlines.abort_s
        while not execution.ended.wait(INTERRUPT_S):
            if time.monotonic() > deadline:
                break
            # Repeated, since a signal that arrives just before a wait begins does not end it.
            execution.interrupt()
        else:
            return
        if self._hub is not None:
            # The hub has the same deadline: it tells the others first.
            self._hub.join(TELL_S)
        self._fail_now(f"the program did not stop within {self._deadlines.abort_s:g} s: {reason}")

    def _on_abort_signal(self, number: int, frame: Any) -> None:
        if self._execution is not None:
            self._execution.on_signal(number, frame)

    def _on_hub_lost(self, exc: PeerLost) -> None:
        """Stop the program, keep what was loaded, and find the hub of rank 0's replacement."""
        if self._hub is not None:
            self._fail_now(f"lost the hub of this very process: {exc}")
        self._abort(self._execution, f"lost rank 0: {exc}")
        assert self._link is not None
        self._link.put(HubLost())

    def _on_thread_crash(self, args: threading.ExceptHookArgs) -> None:
        """End the worker if one of harpy's own threads crashed; a program's threads may crash."""
        sys.__excepthook__(args.exc_type, args.exc_value or args.exc_type(), args.exc_traceback)
        if args.thread is not None and args.thread.name.startswith("harpy-"):
            self._on_hub_crash(args.exc_value or args.exc_type())

    def _on_hub_crash(self, exc: BaseException) -> None:
        cause = Failure.of_exception(exc, self._hello.rank, self._host)
        print(cause.detail, file=sys.stderr, flush=True)
        self._lifeline.error(cause)
        os._exit(FIRST_CAUSE)

    def _fail_now(self, message: str) -> NoReturn:
        """End the process; as an echo, unless this worker's own program had failed before."""
        if self._own_failure is not None:
            self._lifeline.error(self._own_failure)
            os._exit(FIRST_CAUSE)
        cause = Failure("PeerLost", message, self._hello.rank, self._host, echo=True)
        self._lifeline.error(cause)
        os._exit(ECHO)

    def _say_progress(self, fraction: float | None, text: str) -> None:
        if fraction is not None:
            self._lifeline.write_line("progress", f"{fraction:.4f}")
        if text:
            self._lifeline.status(text)


if __name__ == "__main__":
    main()
