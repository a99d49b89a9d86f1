"""What a session was asked for, validated when made; what is known of the job that carries it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from harpy.errors import ConfigError
from harpy.launch.base import AttemptFailure

IN_PROCESS = "in-process"  # JobInfo.id where there is no job: runs happen inside this process


@dataclass(frozen=True)
class SessionOptions:
    """What a session was asked for; validated when made. `wishes` names untouched defaults."""

    n_node: int = 1  # workers
    n_thread: int = 1  # of one worker
    n_mem: int = 2048  # MB of one worker's whole container
    launcher: str = "auto"  # "auto", "local" or "yarn"
    workdir: str | None = None  # path or URL below which the job directory is made
    default_workdir: str = "harpy-work"  # below the user's home, when workdir is None
    queue: str | None = None  # None: the configuration's default
    hadoop_conf: Mapping[str, str] = field(default_factory=dict)  # on top of the files
    name: str = "harpy"  # what the job's id begins with
    keep: bool = False  # leave the job directory after the end
    single_run: bool = False  # submit with the one run to come; it needs no driver to finish
    idle_timeout_s: float | None = None  # the session ends without a run for so long
    python: str = sys.executable  # the workers' interpreter
    wishes: frozenset[str] = frozenset()  # of "n_thread", "n_mem": they may be lowered

    def __post_init__(self) -> None:
        for name, largest in (("n_node", 2**15), ("n_thread", 4096), ("n_mem", 2**31 - 1)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | np.integer):
                raise ConfigError(f"{name} must be an int, got {value!r}")
            if not 1 <= value <= largest:
                raise ConfigError(f"{name} must be between 1 and {largest}, got {value}")
        if self.idle_timeout_s is not None and not self.idle_timeout_s > 0:
            raise ConfigError(f"idle_timeout_s must be positive, got {self.idle_timeout_s}")
        for key, value in self.hadoop_conf.items():
            if not isinstance(key, str) or not isinstance(value, str):
                raise ConfigError(f"hadoop_conf must map str to str, got {key!r}: {value!r}")
        if not self.name or not all(c.isalnum() or c in "-_." for c in self.name):
            raise ConfigError(f"name must be letters, digits, '-', '_' or '.', got {self.name!r}")


@dataclass(frozen=True)
class JobInfo:
    """The job that carries or carried a run: the handle for people and logs.

    Attributes
    ----------
    timings : mapping of str to float
        Stage -> seconds since the session was opened.
    failures : tuple of AttemptFailure
        Worker attempts that failed, in order of time: `attempt` is Hadoop's name for it, `failure`
        has kind, message, rank, host and the end of its log (`detail`).
    """

    id: str  # IN_PROCESS where there is no job
    launcher: str  # "local" or "yarn"
    url: str | None = None  # of the job directory
    application_id: str | None = None  # YARN's
    tracking_url: str | None = None  # YARN's page on it
    n_node: int = 1  # workers
    n_thread: int = 1  # of one worker
    n_mem: int | None = None  # MB of one worker's whole container
    state: str = "running"  # a JobState; of a job in this process, while the session is open
    failures: tuple[AttemptFailure, ...] = ()
    timings: Mapping[str, float] = field(default_factory=dict)
