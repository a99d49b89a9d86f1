"""The session of an estimator: one of its own with what its parameters ask for, or a given one.
What the session does is left to harpy.session.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

from harpy.cpus import available_cpus
from harpy.errors import ConfigError
from harpy.estimators.parameters import CheckedParameters
from harpy.session.options import IN_PROCESS, JobInfo
from harpy.session.session import RunResult, Session

ROWS, WEIGHTS = "X", "sample_weight"  # a program's inputs
AT_LEAST_ONE = Interval(Integral, 1, None, closed="left")
SESSION_CONSTRAINTS: dict[str, Any] = {
    "n_node": [AT_LEAST_ONE],
    "n_thread": [AT_LEAST_ONE],
    "n_mem": [AT_LEAST_ONE],
    "workdir": [str],
    "launcher": [StrOptions({"auto", "local", "yarn"})],
    "queue": [str, None],
    "hadoop_conf": [Mapping, None],
    "session": [HasMethods("run"), None],
    "keep": ["boolean"],
    "progress": ["boolean", None],
}
# What a session is opened with; none of it may be given together with an open session.
SESSION_PARAMETERS = frozenset(SESSION_CONSTRAINTS) - {"session"}
_SIZES = ("n_node", "n_thread", "n_mem")
_CLUSTER_SETTINGS = ("workdir", "launcher", "queue", "hadoop_conf")


class SessionEstimator(CheckedParameters):
    """An estimator with the parameters of SESSION_CONSTRAINTS, which runs programs on a session.

    `_job_name` is what the cluster shows; an untouched `workdir` becomes `<home>/<_job_name>-work`,
    since nobody may write at HDFS's root.
    """

    _job_name: ClassVar[str]

    n_node: int
    n_thread: int
    n_mem: int
    workdir: str
    launcher: str
    queue: str | None
    hadoop_conf: Mapping[str, str] | None
    session: Session | None
    keep: bool
    progress: bool | None

    def _untouched(self) -> frozenset[str]:
        """Names of the parameters about the session that still equal their defaults: wishes."""
        defaults = self._defaults
        return frozenset(
            n for n in (*_SIZES, *_CLUSTER_SETTINGS) if getattr(self, n) == defaults[n]
        )

    def _new_session(self, *, single_run: bool) -> Session:
        """A session that is not open yet, for one run or several."""
        wishes = self._untouched()
        is_verbose = bool(getattr(self, "verbose", False))
        return Session(
            int(self.n_node),
            int(self.n_thread),
            int(self.n_mem),
            launcher=self.launcher,
            workdir=None if "workdir" in wishes else self.workdir,
            default_workdir=f"{self._job_name}-work",
            queue=self.queue,
            hadoop_conf=self.hadoop_conf,
            name=self._job_name,
            keep=self.keep,
            single_run=single_run,
            progress=True if self.progress is None and is_verbose else self.progress,
            wishes=wishes & {"n_thread", "n_mem"},
        )

    def _refuse_contradictions(self, session: Session) -> None:
        """ConfigError where a value that the user gave contradicts the given session."""
        wishes = self._untouched()
        for name in _SIZES:
            asked, granted = getattr(self, name), getattr(session.options, name)
            if name not in wishes and asked != granted:
                raise ConfigError(
                    f"{name}={asked} contradicts the given session, which has {name}={granted}: "
                    f"leave {name} at its default, or open a session with it"
                )
        given = [name for name in _CLUSTER_SETTINGS if name not in wishes]
        if given:
            raise ConfigError(
                f"{', '.join(given)} cannot be chosen for a session that is open already: give it "
                "to harpy.Session"
            )

    def _run(
        self, program: str, X: Any, weights: np.ndarray | None, params: dict[str, Any]
    ) -> RunResult:
        """Run a program on the given session, or on one of our own for this one run.

        Parameters
        ----------
        program : str
            "package.module:function"
        X : rows in any form that a session takes
            The program's input ROWS.
        weights : ndarray of shape (n_samples,), or None
            Of the rows: the program's input WEIGHTS, one column.
        params : dict
            The program's parameters.
        """
        data = {ROWS: X}
        if weights is not None:
            data[WEIGHTS] = weights[:, np.newaxis]
        if self.session is not None:
            self._refuse_contradictions(self.session)
            return self.session.run(program, params, data=data)
        with self._new_session(single_run=True) as session:
            result = session.run(program, params, data=data)
        if result.job.id == IN_PROCESS:
            return result
        return replace(result, job=session.job)  # as it ended

    def _hadoop_settings(self) -> Mapping[str, str] | None:
        """For file systems: those of the session that is used."""
        return self.hadoop_conf if self.session is None else self.session.options.hadoop_conf

    def _threads_here(self, n_thread: int) -> int:
        """The number of threads to use in this process: where `n_thread` is a wish, no more than
        the processors that it may keep busy."""
        if n_thread > 1 and "n_thread" in self._untouched():
            return min(n_thread, available_cpus())
        return n_thread

    def __getstate__(self) -> dict[str, Any]:
        # Live workers cannot be pickled; the model can.
        return {**super().__getstate__(), "session": None}


def job_of(result: RunResult) -> JobInfo | None:
    """The job that carried a run.

    Parameters
    ----------
    result : RunResult
        Of the run.

    Returns
    -------
    JobInfo or None
        None where the run took place inside this process.
    """
    return None if result.job.id == IN_PROCESS else result.job
