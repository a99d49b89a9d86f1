"""The interface of a launcher: which method is called when, and what it takes and gives.

Implementations are yarn.launcher.YarnLauncher and local.launcher.LocalLauncher.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from harpy import errors
from harpy.wire.failure import Failure


class JobState(Enum):
    """Life of the job that carries the workers."""

    NEW = "new"  # not submitted
    SUBMITTED = "submitted"  # accepted by the cluster, waiting for resources
    RUNNING = "running"  # its master runs; workers start
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    KILLED = "killed"
    UNKNOWN = "unknown"  # the cluster does not know the job, or does not answer: it may run

    @property
    def ended(self) -> bool:
        """Whether the cluster has said that it ended. Only then may anything of it be removed."""
        return self in (JobState.SUCCEEDED, JobState.FAILED, JobState.KILLED)

    @property
    def over(self) -> bool:
        """Whether waiting for it is over: it ended, or its state is unknown."""
        return self.ended or self is JobState.UNKNOWN


@dataclass(frozen=True)
class Demand:
    """What a session wants. A value the user gave is a demand and is refused when it can never be
    met; an untouched default (its name in `wishes`) is lowered to what the cluster grants."""

    n_node: int  # workers
    n_thread: int  # vcores of one worker
    n_mem: int  # MB of one worker's whole container
    queue: str | None = None  # None: the configuration's default
    wishes: frozenset[str] = frozenset()  # of "n_thread", "n_mem"


@dataclass(frozen=True)
class Grant:
    """What preflight granted. `notes`: lowered wishes; `warnings`: busy, scheduler unknown."""

    n_node: int  # workers
    n_thread: int  # of one worker
    n_mem: int  # MB of one worker's whole container
    queue: str | None = None  # None: the configuration's default
    vcores: int = 1  # asked of YARN per container: min(n_thread, the largest allowed)
    python_mb: int | None = None  # of n_mem, for the worker's process; None: not limited
    notes: tuple[str, ...] = ()  # which wishes were lowered, and why
    warnings: tuple[str, ...] = ()  # what is busy, or could not be checked


@dataclass(frozen=True)
class FileRange:
    """Bytes of a file on the cluster that a rank is going to read."""

    path: str  # full URL
    offset: int
    length: int


@dataclass(frozen=True)
class GangSpec:
    """Everything a launcher needs to start the workers of one session."""

    job_id: str  # the name of the job directory
    job_url: str  # of the job directory
    grant: Grant  # what preflight granted
    secret: bytes  # 32 bytes; never on a command line, in a log or in a file
    python: str  # the workers' interpreter
    name: str  # shown by the cluster
    max_attempts: int = 1  # of each worker
    first_attempt: int = 0  # above all attempts of a job whose directory this one takes over
    hadoop_conf: Mapping[str, str] = field(default_factory=dict)  # the user's own settings
    env: Mapping[str, str] = field(default_factory=dict)  # the workers' own variables
    # What each rank reads, where it is known: a rank is placed near its bytes if that can be.
    shares: tuple[tuple[FileRange, ...], ...] = ()


@dataclass(frozen=True)
class AttemptFailure:
    """One worker attempt that failed, as the launcher saw it."""

    attempt: str  # the launcher's name for it
    failure: Failure  # its kind is "WorkerLost" where no better one is known

    @property
    def replaceable(self) -> bool:
        """Whether another attempt may succeed. An echo is: it only followed another failure."""
        kind = getattr(errors, self.failure.kind, None)
        return self.failure.echo or bool(getattr(kind, "replaceable", False))

    @property
    def taken_back(self) -> bool:
        """Whether the cluster took its container back. That is no loss that counts."""
        return self.failure.kind in ("Preempted", "NodeLost")


@dataclass(frozen=True)
class LaunchStatus:
    """The latest state that the launcher knows; cheap to ask for."""

    state: JobState = JobState.NEW  # of the job that carries the workers
    application_id: str | None = None  # None where there is none
    tracking_url: str | None = None  # the cluster's page on it
    progress: float = 0.0  # 0 to 1
    message: str = ""  # e.g. why it waits: "2 of 4 workers running; queue default is at 98 %"
    failures: tuple[AttemptFailure, ...] = ()  # in order of time
    workers_running: int = 0  # that have begun, as far as the cluster says
    master_silent_s: float = 0.0  # since the application master answered last; 0 while it does
    diagnostics: str = ""  # what the cluster last said of a failed job
    timings: Mapping[str, float] = field(default_factory=dict)  # stage -> seconds since open()

    @property
    def final_failure(self) -> AttemptFailure | None:
        """The first failure that no other attempt makes good."""
        return next((failure for failure in self.failures if not failure.replaceable), None)


class Launcher(ABC):
    """Starts a gang of workers and follows it.

    The session calls, in this order: open(), preflight(), submit(), status() often, then
    kill() or wait(), and close() always. All methods are called from one thread.
    """

    kind: str

    @abstractmethod
    def open(self) -> None:
        """Begin what is slow in the background (the submitting JVM); returns at once."""

    @abstractmethod
    def preflight(self, demand: Demand) -> Grant:
        """Check the demand against the cluster's static limits.

        Parameters
        ----------
        demand : Demand
            Its wishes are lowered to what fits.

        Returns
        -------
        Grant

        Raises
        ------
        DemandRefused
            It can never be met; the message has the numbers.
        ClusterUnreachable
            The cluster does not answer.
        """

    @abstractmethod
    def submit(self, spec: GangSpec) -> str | None:
        """Start the job.

        Parameters
        ----------
        spec : GangSpec
            What to start.

        Returns
        -------
        str or None
            The application's id; None where there is none.

        Raises
        ------
        LaunchError
            The job was refused, or could not be started.
        """

    @abstractmethod
    def status(self) -> LaunchStatus:
        """The latest known state; never blocks, never raises for a failed job.

        Returns
        -------
        LaunchStatus
        """

    @abstractmethod
    def kill(self, reason: str) -> None:
        """End the job and its workers; returns when they are gone or after Deadlines.kill_s.

        Parameters
        ----------
        reason : str
            For the cluster's records.
        """

    @abstractmethod
    def wait(self, timeout_s: float) -> LaunchStatus:
        """Wait until the job has ended.

        Parameters
        ----------
        timeout_s : float
            At most so long.

        Returns
        -------
        LaunchStatus
            What is known then.

        Raises
        ------
        LaunchError
            The launcher can no longer follow the job.
        """

    @abstractmethod
    def close(self) -> None:
        """Release what the driver holds (JVM, pipes, threads). A running job goes on."""
