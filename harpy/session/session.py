"""Session and RunResult: what the driver holds. A session is workers and their lifetime, a run is
one program executed on them.

Where workers come from is left to harpy.launch, how a gang is driven to driver.py, how a program
runs without one to in_process.py.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from harpy.config import resolve_launcher
from harpy.errors import ConfigError, SessionClosed
from harpy.program.source import Program, resolve_program
from harpy.session.in_process import run_in_process
from harpy.session.keywords import says_which_was_meant
from harpy.session.options import IN_PROCESS, JobInfo, SessionOptions
from harpy.session.progress import Progress
from harpy.storage.rows.csr import as_rows
from harpy.storage.rows.dataset import Dataset
from harpy.storage.rows.put_rows import PutRows

if TYPE_CHECKING:
    from harpy.session.driver import GangDriver
    from harpy.storage import FileRows, Rows

# A worker sets it for itself: a program file that opens a session at import would recurse.
INSIDE_WORKER = "HARPY_INSIDE_WORKER"


@dataclass(frozen=True)
class RunResult:
    """What a run brought back.

    Attributes
    ----------
    value : Any
        What the program returned on rank 0: nested dicts and lists of JSON values and ndarrays.
    arrays : Mapping[str, ndarray]
        What programs saved with `ctx.save`, the parts of all ranks one below the other.
    seconds : float
        From the start of the run until its results were here.
    job : JobInfo
    """

    value: Any
    arrays: Mapping[str, np.ndarray]
    seconds: float
    job: JobInfo

    def load(self, name: str) -> np.ndarray:
        """The array that programs saved under a name.

        Parameters
        ----------
        name : str
            As it was given to `ctx.save`.

        Returns
        -------
        ndarray
            The parts of all ranks, one below the other.

        Raises
        ------
        KeyError
            There is none of this name; the message names those there are.
        """
        if name not in self.arrays:
            known = ", ".join(sorted(self.arrays)) or "none"
            raise KeyError(f"the program saved no array {name!r}; saved: {known}")
        return self.arrays[name]


class Session:
    """Workers on a cluster (or on this machine) and their lifetime.

    Parameters
    ----------
    n_node : int, default 1
        Number of workers.
    n_thread : int, default 1
        Threads of each worker.
    n_mem : int, optional
        Memory in MB of one worker's whole container. None: 2048, or less where a container of the
        cluster cannot have so much.
    launcher : {"auto", "local", "yarn"}, default "auto"
        Where workers come from. "auto" is "yarn" where HADOOP_CONF_DIR (or HARPY_LAUNCHER) says so,
        else "local". "local" with one worker runs inside this process: no subprocess, no file.
    progress : bool, optional
        Show progress on stderr. None: where stderr is a terminal, or HARPY_PROGRESS=1.
    workdir : str, optional
        Where the job directory is made: a path on the cluster's file system, or a URL. None:
        `default_workdir` below the user's home there.
    default_workdir : str, default "harpy-work"
        A folder below the user's home, for a `workdir` of None.
    queue : str, optional
        YARN's queue. None: the one that Hadoop's configuration names, else "default".
    hadoop_conf : mapping of str to str, optional
        Hadoop's settings on top of the configuration files, as `-D key=value` gives them, for this
        process, the job and its workers. None: none.
    name : str, default "harpy"
        What the job's id begins with, which the cluster shows: letters, digits, "-", "_" and ".".
    keep : bool, default False
        Leave the job directory, with results and reports, when the session ends.
    single_run : bool, default False
        The session is for one run, which is submitted with the job: its workers start near the
        files they read, and finish without this process. False: for any number of runs.
    idle_timeout_s : float, optional
        Seconds without a run after which the session ends itself. None: HARPY_IDLE_S, else 600.
    python : str, optional
        Path of the workers' Python on their nodes. None: that of this process.
    wishes : frozenset of str, default empty
        Which of "n_thread" and "n_mem" may be lowered to what the cluster, or this machine, has.
        Whatever is not named is a demand, refused when it can never be met; an `n_mem` of None is
        always a wish.

    Raises
    ------
    ConfigError
        A value makes no sense, or this process is a worker.
    TypeError
        For an unknown keyword, saying which one was meant.

    Examples
    --------
    >>> with harpy.Session(n_node=4, n_thread=8) as session:   # doctest: +SKIP
    ...     model = harpy.DAALKMeans(n_clusters=15, session=session).fit(X)
    ...     result = session.run("my_program.py", {"alpha": 0.5}, data={"X": X})
    """

    @says_which_was_meant
    def __init__(
        self,
        n_node: int = 1,
        n_thread: int = 1,
        n_mem: int | None = None,
        *,
        launcher: str = "auto",
        progress: bool | None = None,
        workdir: str | None = None,
        default_workdir: str = "harpy-work",
        queue: str | None = None,
        hadoop_conf: Mapping[str, str] | None = None,
        name: str = "harpy",
        keep: bool = False,
        single_run: bool = False,
        idle_timeout_s: float | None = None,
        python: str | None = None,
        wishes: frozenset[str] = frozenset(),
    ) -> None:
        if os.environ.get(INSIDE_WORKER):
            raise ConfigError(
                "a worker may not open a session: put the driver's part of the program file "
                'under `if __name__ == "__main__":`'
            )
        if n_mem is None:
            n_mem, wishes = SessionOptions.n_mem, wishes | {"n_mem"}
        kind, reason = resolve_launcher(launcher)
        self.options = SessionOptions(
            n_node=n_node,
            n_thread=n_thread,
            n_mem=n_mem,
            launcher=kind,
            workdir=workdir,
            default_workdir=default_workdir,
            queue=queue,
            hadoop_conf=dict(hadoop_conf or {}),
            name=name,
            keep=keep,
            single_run=single_run,
            idle_timeout_s=idle_timeout_s,
            python=python or sys.executable,
            wishes=wishes,
        )
        self._launcher_reason = reason
        self._progress = Progress(progress)
        self._driver: GangDriver | None = None
        self._state = "new"

    @property
    def in_process(self) -> bool:
        """Whether runs happen inside this process."""
        return self.options.launcher == "local" and self.options.n_node == 1

    @property
    def job(self) -> JobInfo:
        """The job as it is now."""
        if self._driver is not None:
            return self._driver.job_info()
        options = self.options
        return JobInfo(IN_PROCESS, options.launcher, n_thread=options.n_thread)

    def open(self) -> Session:
        """Start the workers; returns while they are starting. `with` calls it.

        Returns
        -------
        Session
            This one.

        Raises
        ------
        SessionClosed
            It was closed before.
        HarpyError
            The cluster refused or does not answer; nothing is left behind.
        """
        if self._state == "open":
            return self
        if self._state == "closed":
            raise SessionClosed("this session is closed; make a new one")
        if not self.in_process:
            from harpy.session.driver import GangDriver

            self._progress.stage(
                f"launcher {self.options.launcher} ({self._launcher_reason}), "
                f"{self.options.n_node} workers x {self.options.n_thread} threads"
            )
            try:
                driver = GangDriver(self.options, self._progress)
                with driver.cleaned_up_on_error():
                    driver.prepare()
                    if not self.options.single_run:
                        driver.submit()
            except BaseException:
                self._progress.close()
                raise
            self._driver = driver
        self._state = "open"
        return self

    def run(
        self,
        program: Program,
        params: Mapping[str, Any] | None = None,
        data: Mapping[str, Any] | None = None,
        *,
        timeout_s: float | None = None,
    ) -> RunResult:
        """Run a program on every worker and bring the results back.

        Parameters
        ----------
        program : str, Path or function
            "package.module:function", a path to a Python file (its `main`, or "file.py:function"),
            or a function. It is called with a `harpy.Context`.
        params : mapping
            Nested JSON values and ndarrays, the same on all workers.
        data : mapping of ndarray of shape (n_rows, n_columns), or of scipy's sparse matrices in
        CSR, or \
                of `harpy.put` or `harpy.dataset`
            Split over the workers by rows. What was staged once in this session is not sent again;
            files of a dataset are read by the workers themselves.
        timeout_s : float, optional
            RunTimeout after so many seconds; the session ends with it. Not inside this process,
            where nobody else could stop the program.

        Returns
        -------
        RunResult

        Raises
        ------
        RunError
            With the first cause: ProgramFailed (the session can run again), WorkerLost or
            RunTimeout (it is over). `rank`, `host` and `detail` say where and how.
        HarpyError
            What else the program met on a worker, with the same attributes: DataError,
            StorageError, or ProtocolError where ranks made different calls.
        """
        source = resolve_program(program)
        rows = {name: self._rows(given) for name, given in (data or {}).items()}
        if self._state != "open":
            self.open()
        started = time.monotonic()
        if self._driver is None:
            try:
                value, arrays = run_in_process(
                    source, params or {}, rows, self.options, self._progress
                )
            finally:
                self._progress.close()
        else:
            try:
                value, arrays = self._driver.run(source, params or {}, rows, timeout_s)
            except BaseException:
                if not self._driver.usable:
                    self._state = "closed"
                    self._progress.close()
                raise
        return RunResult(value, arrays, time.monotonic() - started, self.job)

    def put(self, X: Any) -> PutRows | Dataset:
        """Upload rows now, and remember them: see `harpy.put`.

        Parameters
        ----------
        X : what `harpy.put` takes
            Must not change as long as the result is used.

        Returns
        -------
        PutRows or Dataset
        """
        rows = put(X)
        self.open()
        if self._driver is not None:
            self._driver.stage(self._rows(rows))
        return rows

    def _rows(self, given: Any) -> Rows | PutRows | FileRows:
        """The rows, or their description, that travel to the workers."""
        if isinstance(given, Dataset):
            return given.describe(self.options.hadoop_conf)
        return given if isinstance(given, PutRows) else as_rows(given)

    def close(self) -> None:
        """End the workers, remove what the session left on the cluster; may be repeated."""
        if self._state == "open" and self._driver is not None:
            self._state = "closed"
            try:
                self._driver.close()
            finally:
                self._progress.close()
        self._state = "closed"

    def __deepcopy__(self, memo: dict[int, Any]) -> Session:
        # sklearn.base.clone copies an estimator's parameters; workers stay where they are.
        return self

    def __enter__(self) -> Session:
        return self.open()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None and not issubclass(kind, Exception) and self._driver is not None:
            # Ctrl-C or exit between runs: kill the job instead of waiting for its regular end.
            self._state = "closed"
            self._driver.abandon(f"{kind.__name__} in the driver")
            self._progress.close()
        else:
            self.close()


def put(X: Any, session: Session | None = None) -> PutRows | Dataset:
    """Make rows known that will be used several times.

    A session reads all rows in memory before every run to learn whether it has staged them already.
    For rows that were put, this is done once.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_columns), or scipy.sparse matrix in CSR format
        Must not change as long as the result is used. A `harpy.dataset` is handed back as it is:
        its rows are where they are needed already.
    session : Session, optional
        Upload them to its workers' side now. Without one, sessions upload them at their first use.

    Returns
    -------
    PutRows or Dataset

    Raises
    ------
    DataError
        X is neither a real 2-d array nor sparse rows of real numbers.

    Examples
    --------
    >>> with harpy.Session(n_node=4) as session:   # doctest: +SKIP
    ...     points = harpy.put(X, session)
    ...     few = harpy.DAALKMeans(n_clusters=5, session=session).fit(points)
    ...     many = harpy.DAALKMeans(n_clusters=50, session=session).fit(points)
    """
    if session is not None:
        return session.put(X)
    return X if isinstance(X, PutRows | Dataset) else PutRows(X)
