"""At least one of everything that travels, with every field used, and what to put in its place."""

from __future__ import annotations

from typing import Any

import numpy as np

from harpy.config import Deadlines
from harpy.wire import to_driver, to_hub, to_worker
from harpy.wire.failure import Failure
from harpy.wire.hello import Hello
from harpy.wire.job_spec import JobSpec
from harpy.wire.member import Member
from harpy.wire.record import Record
from harpy.wire.report import Report
from harpy.wire.run_spec import RunSpec

ROWS = np.array([[1.5], [2.5]])
FAILURE = Failure("ProgramFailed", "ValueError: no", 1, "n1", "Traceback …", echo=True)
MEMBER = Member(1, 2, "n1", "10.0.0.1", 4000, 7)
RUN = RunSpec(
    run=1,
    function="Jobs.main",
    file="f00d",
    origin="program.py",
    data={"X": "d1"},
    params={"k": 3, "init": ROWS, "names": ["a", None]},
    deliver=True,
)
RESULT = to_hub.Delivered(in_file=False, value={"centers": ROWS})

FROM_WORKER: list[to_hub.FromWorker] = [
    to_hub.Join("n1", "10.0.0.1", 4000, 7),
    to_hub.AskComm(1, 2),
    to_hub.Reported(1, 2, None),
    to_hub.Reported(1, 2, FAILURE),
    to_hub.Committed(1, 2, None),
    to_hub.Committed(1, 2, RESULT),
    to_hub.Progress(1, 0.5, {"iteration": 3, "inertia": 1.5, "word": "on", "done": False}),
    to_hub.Progress(1, None, {}),
    to_hub.Pace(1, "n1", 0.9),
    to_hub.Output(1, "labels", ROWS),
    to_hub.Output(1, "labels", None),
]
FROM_DRIVER: list[to_hub.FromDriver] = [
    to_hub.Attach(),
    to_hub.OfferRun(RUN),
    to_hub.CancelRun(1, "enough"),
    to_hub.CloseSession(),
]
TO_WORKER: list[to_worker.ToWorker] = [
    to_worker.Superseded(),
    to_worker.StartRun(RUN, 2),
    to_worker.Peers(1, 2, (MEMBER, MEMBER)),
    to_worker.AbortRun(1, 2, "rank 1 failed"),
    to_worker.CommitRun(1, 2),
    to_worker.EndSession("closed", None),
    to_worker.EndSession("run 1 failed", FAILURE),
]
ANSWERS: list[to_worker.Answer] = [
    to_worker.Admitted(),
    to_worker.Refused("attempt 2 has taken its place", superseded=True),
    to_worker.EndSession("closed", None),
]
TO_DRIVER: list[to_driver.ToDriver] = [
    to_driver.Joined(1, 2),
    to_driver.Progressed(1, 0, 0.5, {"iteration": 3}),
    to_driver.Paced(1, 1, "n1", 0.9),
    to_driver.OutputPart(1, 0, "labels", ROWS),
    to_driver.RunCommitted(1, delivered=True, result=RESULT),
    to_driver.RunFailed(1, FAILURE),
    to_driver.Lost(FAILURE),
    to_driver.BegunAnew(1, 2),
    to_driver.SessionEnded("closed", None),
    to_driver.SessionEnded("run 1 failed", FAILURE),
]
JOB = JobSpec(
    job_id="job-1",
    owner="me",
    created=1.5,
    launcher="yarn",
    n_node=2,
    n_thread=4,
    n_mem=2048,
    queue="default",
    wishes=frozenset({"n_thread", "n_mem"}),
    keep_open=False,
    first_run=RunSpec(1, module="package.module", params={"k": 3}),
    max_losses=3,
    deadlines=Deadlines(idle_s=5),
)
HELLO = Hello(
    rank=1,
    n_node=2,
    attempt=1000,
    n_thread=4,
    job_url="hdfs://n0:8020/user/me/harpy-work/job-1",
    secret=b"\x5e\xc2\xe7" * 11,
    bind="10.0.0.7",
    port_range=(4000, 4010),
    hadoop_conf_dir="/conf",
    memory_mb=1344,
    hadoop_conf={"dfs.replication": "1"},
)
RECORDS: list[Record] = [
    *(FAILURE, MEMBER, RUN, RESULT, JOB, HELLO),
    Report(1, 1, 2, "n1", 7, "failed", 1.5, 2.5, FAILURE),
]
# Values that upset who takes the kind of a field for granted.
ODD: list[Any] = [
    *(None, True, -1, 0, 1 << 31, 1 << 63, 10**30, 0.5, float("inf"), float("nan"), "", "text"),
    *("\x00", "\ud800", "9" * 300, "t" * (65 << 10), [], {}, [[]], ["a"], {"a": 1}, {"type": "x"}),
    *([None], [{}], {"a": [1]}, ROWS),
]


def same(one: Any, other: Any) -> bool:
    """Whether two JSON values with arrays in them are the same, in kind and in content."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other)
    return bool(one == other) or (one != one and other != other)
