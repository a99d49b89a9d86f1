"""The state of recorded jobs, which their clusters tell by the application's id.

Absence is no answer: an application that the ResourceManager does not know, or does not answer for,
is "unknown", and nothing of it may be removed. What is done about it is left to job_control.py and
cleaning.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from harpy.config import Deadlines, HadoopConf, load_hadoop_conf
from harpy.errors import ConfigError, HarpyError, JobNotFound, PathNotFound
from harpy.launch.base import JobState
from harpy.launch.yarn.applications import Application, application_states, list_applications
from harpy.session import registry
from harpy.session.registry import JobRecord
from harpy.storage import FileSystem, JobDirectory, filesystem


@dataclass(frozen=True)
class Standing:
    """A job as its cluster sees it."""

    record: JobRecord  # with the application it turned out to have
    state: JobState
    why: str = ""  # of an unknown state: which cluster gave no answer


class Clusters:
    """The clusters of some jobs, each asked once for all of them.

    Parameters
    ----------
    records : iterable of JobRecord
        The jobs that will be looked up.
    """

    def __init__(self, records: Iterable[JobRecord]) -> None:
        self._records = list(records)
        self._answers: dict[object, _Answer] = {}

    def look_up(self, record: JobRecord) -> Standing:
        """The state of a job."""
        if record.final_state is not None:
            return Standing(record, JobState(record.final_state))
        if record.launcher != "yarn":
            return Standing(record, _state_without_cluster(record))
        if record.application_id is None and (record.driver_alive() or not record.submission_began):
            return Standing(record, JobState.NEW)
        key = _cluster_of(record)
        if key not in self._answers:
            mine = [r for r in self._records if r.launcher == "yarn" and _cluster_of(r) == key]
            self._answers[key] = _Answer.of_cluster(mine)
        return self._answers[key].standing(record)


@dataclass(frozen=True)
class _Answer:
    """What one ResourceManager answered about the jobs it was asked for."""

    by_id: dict[str, Application]
    listed: list[Application]  # of this user, newest first; for jobs without an id
    who: str
    problem: HarpyError | None = None  # why it gave no answer

    @classmethod
    def of_cluster(cls, records: list[JobRecord]) -> _Answer:
        who = f"the ResourceManager of {records[0].conf_dir}"
        ids = [record.application_id for record in records if record.application_id]
        try:
            conf = hadoop_conf(records[0])
            by_id = application_states(conf, ids) if ids else {}
            listed = list_applications(conf) if len(ids) < len(records) else []
        except HarpyError as exc:
            return cls({}, [], who, exc)
        return cls(by_id, listed, who)

    def standing(self, record: JobRecord) -> Standing:
        if self.problem is not None:
            return Standing(record, JobState.UNKNOWN, str(self.problem))
        if record.application_id is not None:
            application = self.by_id.get(record.application_id)
            missing = f"does not know {record.application_id}"
        else:
            # Its driver died while it submitted: the job's id is a tag of the application.
            application = next((a for a in self.listed if a.carries(record.job_id)), None)
            missing = "knows no application of it, and its driver died while it submitted"
        if application is None:
            return Standing(record, JobState.UNKNOWN, f"{self.who} {missing}")
        if record.application_id is None:
            record = registry.update(record, application_id=application.application_id)
        return Standing(record, application.state)


def look_up(record: JobRecord) -> Standing:
    """The state of one job now."""
    return Clusters([record]).look_up(record)


def find_application(job_id: str) -> JobRecord:
    """Find a job of which this machine has no record, on the cluster of this environment.

    Parameters
    ----------
    job_id : str
        An application's id, or a whole job id.

    Raises
    ------
    JobNotFound
        No cluster is configured, or it knows no such application of this user.
    """
    try:
        return registry.find(job_id)
    except JobNotFound as exc:
        unrecorded = exc
    try:
        conf = load_hadoop_conf()
    except ConfigError:
        raise unrecorded from None
    for application in list_applications(conf):
        if job_id == application.application_id or application.carries(job_id):
            record = JobRecord.of_this_process(job_id, "", "yarn", application.started_s)
            return replace(
                record,
                conf_dir=str(conf.directory),
                application_id=application.application_id,
                user=application.user,
                ended=True,  # this process does not drive it
            )
    raise JobNotFound(f"{unrecorded}; nor is it an application of yours in {conf.directory}")


def directory_of(record: JobRecord) -> JobDirectory:
    """The job's directory, whether or not it is there."""
    return JobDirectory(_file_system(record), record.job_url)


def hadoop_conf(record: JobRecord) -> HadoopConf:
    """The configuration of the job's cluster."""
    if record.conf_dir is None:
        raise ConfigError(f"job {record.job_id} has no Hadoop configuration")
    return HadoopConf.load(Path(record.conf_dir), record.hadoop_conf)


def finished_runs(record: JobRecord) -> int:
    """How many runs of the job have left their results."""
    try:
        return len(directory_of(record).finished_runs())
    except PathNotFound:
        return 0


def _file_system(record: JobRecord) -> FileSystem:
    told = HadoopConf(record.hadoop_conf)  # of a local job, which has no files of its own
    conf = told if record.conf_dir is None else hadoop_conf(record)
    return filesystem(record.job_url, hadoop_conf=conf, deadlines=Deadlines.from_environment())


def _cluster_of(record: JobRecord) -> object:
    return record.conf_dir, tuple(sorted((record.hadoop_conf or {}).items()))


def _state_without_cluster(record: JobRecord) -> JobState:
    """Of a local job, whose workers end with their driver."""
    if record.driver_alive():
        return JobState.RUNNING
    return JobState.SUCCEEDED if finished_runs(record) else JobState.FAILED
