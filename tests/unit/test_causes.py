"""Each way in which Hadoop ends a worker, a master or a job is one error: what, where, what next.

The words are those of Hadoop 3.5.0; each comment names the class that says them.
"""

from __future__ import annotations

import pytest

from harpy import errors
from harpy.config import HadoopConf
from harpy.errors import (
    DiskFull,
    HarpyError,
    JobKilled,
    LocalizationFailed,
    MasterLost,
    MasterMemoryExceeded,
    MemoryExceeded,
    NodeLost,
    Preempted,
    QueueStopped,
    SubmissionRefused,
    WorkerKilled,
    WorkerLost,
)
from harpy.launch.base import AttemptFailure
from harpy.launch.yarn.causes import ended_job, hadoop_says
from harpy.launch.yarn.diagnostics import attempt_failure
from harpy.launch.yarn.launch_errors import launch_error
from harpy.wire.failure import Failure

CONTAINER = "container_1795253441560_0008_01_000003"

ATTEMPTS: list[tuple[str, type[HarpyError], bool, str, str]] = [
    # ContainersMonitorImpl.formatErrorMessage
    (
        f"[2026-11-21 09:45:24.1]Container [pid=712,containerID={CONTAINER}] is running 7340032B "
        "beyond the 'PHYSICAL' memory limit. Current usage: 1.0 GB of 1 GB physical memory used; "
        "2.2 GB of 2.1 GB virtual memory used. Killing container.\nDump of the process-tree for "
        f"{CONTAINER} :\n\t|- PID PPID PGRPID",
        MemoryExceeded,
        False,
        "took more memory than its container has",
        "Raise n_mem",
    ),
    (
        f"[2026-11-21 09:45:24.1]Container [pid=7,containerID={CONTAINER}] is running 9B beyond "
        "the 'VIRTUAL' memory limit. Current usage: 0.2 GB of 1 GB physical memory used; 2.2 GB of "
        "2.1 GB virtual memory used. Killing container.",
        MemoryExceeded,
        False,
        "beyond the 'VIRTUAL' memory limit",
        "n_node",
    ),
    # CGroupElasticMemoryController, DefaultOOMHandler
    (
        f"container {CONTAINER} killed by elastic cgroups OOM handler.",
        MemoryExceeded,
        False,
        "killed by elastic cgroups OOM handler",
        "Raise n_mem",
    ),
    # SchedulerUtils.PREEMPTED_CONTAINER
    (
        "Container preempted by scheduler",
        Preempted,
        True,
        "the scheduler took its container",
        "queue with guaranteed capacity",
    ),
    # ContainerImpl: an opportunistic container (ContainerScheduler)
    (
        "[2026-11-21 09:45:24.1]Container Killed to make room for Guaranteed Container.\n"
        "[2026-11-21 09:45:24.2]Container killed on request. Exit code is 143",
        Preempted,
        True,
        "was preempted",
        "queue=",
    ),
    # SchedulerUtils.LOST_CONTAINER
    ("Container released on a *lost* node", NodeLost, True, "is lost: its node", "yarn node -list"),
    # RMContainerAllocator.handleUpdatedNodes, JobImpl.actOnUnusableNode
    (
        "TaskAttempt killed because it ran on unusable noden1:45454\n"
        "cleanup failed for container c_1 : java.net.ConnectException: Call From n0/10.0.0.1 to n1:"
        "45454 failed on connection exception: java.net.ConnectException: Connection refused; For "
        "more details see:  http://wiki.apache.org/hadoop/ConnectionRefused\n"
        "\tat java.base/jdk.internal.reflect.Direct.newInstance(Direct.java:62)\n"
        "\tat jdk.proxy2/jdk.proxy2.$Proxy90.stopContainers(Unknown Source)\n"
        "Caused by: java.net.ConnectException: Connection refused\n"
        "\tat java.base/sun.nio.ch.Net.pollConnect(Native Method)\n\t... 20 more",
        NodeLost,
        True,
        "unusable noden1:45454",  # as Hadoop spells it
        "yarn node -list",
    ),
    # TaskHeartbeatHandler.PingChecker
    (
        "AttemptID:attempt_1_0001_m_000001_0 task timeout set: 30s, taskTimedOut: true; task stuck "
        "timeout set: 600s, taskStuck: false",
        NodeLost,
        True,
        "does not answer",
        "yarn node -list",
    ),
    # ContainerLauncherImpl.Container.launch
    (
        f"Container launch failed for {CONTAINER} : java.net.ConnectException: Call From n0/10.0.0."
        "1 to n1:45454 failed on connection exception: Connection refused",
        NodeLost,
        True,
        "Connection refused",
        "yarn node -list",
    ),
    # ContainerLaunch.handleContainerExitWithFailure
    (
        "[2026-11-21 09:45:24.1]Exception from container-launch.\n"
        f"Container id: {CONTAINER}\nExit code: 137\n\n[2026-11-21 09:45:24.2]Container exited "
        "with a non-zero exit code 137. Error file: prelaunch.err.\nLast 4096 bytes of "
        "prelaunch.err :\n",
        WorkerKilled,
        True,
        "was killed by SIGKILL",
        "dmesg",
    ),
    (
        "[2026-11-21 09:45:24.1]Container killed on request. Exit code is 137",
        WorkerKilled,
        True,
        "was killed by SIGKILL",
        "fewer workers on a node",
    ),
    # FSDownload.verifyAndCopy; ResourceLocalizationService
    (
        "[2026-11-21 09:45:24.1]Resource hdfs://nn:8020/tmp/hadoop-yarn/staging/me/.staging/job_1_8"
        "/job.jar changed on src filesystem - expected: 1795253441560, was: 1795253441999",
        LocalizationFailed,
        False,
        "could not fetch the files of the job",
        "staging-dir",
    ),
    (
        "[2026-11-21 09:45:24.1]File does not exist: hdfs://nn:8020/staging/job_1_8/job.xml\n"
        "java.io.FileNotFoundException: File does not exist: hdfs://nn:8020/staging/job_1_8/job.xml"
        "\n\tat org.apache.hadoop.yarn.util.FSDownload.verifyAndCopy(FSDownload.java:293)",
        LocalizationFailed,
        False,
        "job.xml",
        "did nobody remove files",
    ),
    # LocalDirAllocator.AllocatorPerContext
    (
        "[2026-11-21 09:45:24.1]No space available in any of the local directories.",
        DiskFull,
        False,
        "no usable local disk",
        "max-disk-utilization-per-disk-percentage",
    ),
    # ContainerLaunch.call: LocalDirsHandlerService.getDisksHealthReport
    (
        "[2026-11-21 09:45:24.1]Most of the disks failed. 1/1 local-dirs usable space is below "
        "configured utilization percentage/no more usable space [ /data/nm : used space above "
        "threshold of 90.0% ] ",
        DiskFull,
        False,
        "/data/nm",
        "yarn.nodemanager.local-dirs",
    ),
    ("Something that no table knows", WorkerLost, True, "Something that no table knows", ""),
]


@pytest.mark.parametrize(("words", "kind", "replaceable", "what", "advice"), ATTEMPTS)
def test_the_end_of_a_worker_has_its_cause(
    words: str, kind: type[HarpyError], replaceable: bool, what: str, advice: str
) -> None:
    facts = {"attempt": "attempt_1_0001_m_000001_0", "task": 1, "diagnostics": words}
    failed = attempt_failure({**facts, "node": "http://n1:8042"})
    assert failed.replaceable is replaceable
    failure = failed.failure
    assert failure.kind == kind.__name__
    assert (failure.rank, failure.host) == (1, "n1")
    assert failure.message.startswith("rank 1 on n1")
    assert what in failure.message
    assert advice in failure.message
    assert "Exception:" not in failure.message
    assert "[2026" not in failure.message
    for javas in ("Exception: ", "\tat ", " more\n", "Source)"):
        assert javas not in f"{failure.detail}\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("[2026-11-21 22:16:55.1]Out of luck.\nmore", "Out of luck."),
        (
            "\n [2026-11-21 22:16:55.1]java.lang.reflect.UndeclaredThrowableException\n\tat x.Y.z("
            "Y.java:1)\nCaused by: org.apache.hadoop.yarn.exceptions.YarnException: Download and "
            "unpack failed\n\tat x.Y.z(Y.java:2)\nCaused by: java.io.IOException: not a tar\n",
            "not a tar",
        ),
        ("Exception from container-launch.\nContainer id: c_1", "Container id: c_1"),
        ("java.io.IOException: Disk quota exceeded", "Disk quota exceeded"),
        ("", "Hadoop gives no reason"),
    ],
)
def test_what_hadoop_says_is_told_without_java(words: str, said: str) -> None:
    assert hadoop_says(words) == said


APPLICATION = "Application application_1795253441560_0008"
TRACKING = (
    "For more detailed output, check the application tracking page: http://rm:8088/cluster/app/"
    "application_1795253441560_0008 Then click on links to logs of each attempt.\n. Failing the "
    "application."
)


def master(code: int, words: str, times: int = 2) -> str:
    """RMAppImpl.getAppAttemptFailedDiagnostics around RMAppAttemptImpl's words."""
    attempt = "appattempt_1795253441560_0008_000002"
    return (
        f"{APPLICATION} failed {times} times due to AM Container for {attempt} exited with  "
        f"exitCode: {code}\nFailing this attempt.Diagnostics: {words}{TRACKING}"
    )


JOBS: list[tuple[str, type[HarpyError], tuple[str, ...]]] = [
    (
        master(
            -104,
            "[2026-11-21 09:45:24.1]Container [pid=7,containerID=c] is running 9B beyond the "
            "'PHYSICAL' memory limit. Current usage: 513 MB of 512 MB physical memory used; 2 GB "
            "of 1.1 GB virtual memory used. Killing container.",
        ),
        MasterMemoryExceeded,
        ("ended 2 times", "more memory than its container", "yarn.app.mapreduce.am.resource.mb"),
    ),
    (
        master(137, "[2026-11-21 09:45:24.1]Exception from container-launch.\nExit code: 137\n"),
        MasterLost,
        ("ended 2 times", "the last with exit code 137", "yarn.resourcemanager.am.max-attempts"),
    ),
    (
        master(-100, "Container released on a *lost* node", times=1),
        MasterLost,
        ("ended once", "its node, or the node's manager, does not answer"),
    ),
    (
        f"{APPLICATION} failed 2 times due to ApplicationMaster for attempt "
        "appattempt_1795253441560_0008_000002 timed out. Failing the application.",
        MasterLost,
        ("yarn.am.liveness-monitor.expiry-interval-ms",),
    ),
    (
        master(
            -1000,
            "[2026-11-21 09:45:24.1]Failed to download resource { { hdfs://nn:8020/mr.tar.gz, 1, "
            "ARCHIVE, null },pending,[(c)],1,DOWNLOADING} java.io.IOException: not in gzip format",
        ),
        LocalizationFailed,
        ("could not fetch the files", "mr.tar.gz"),
    ),
    (
        master(-1000, "[2026-11-21 09:45:24.1]No space available in any of the local directories."),
        DiskFull,
        ("no usable local disk", "local-dirs"),
    ),
]


@pytest.mark.parametrize(("diagnostics", "kind", "words"), JOBS)
def test_the_end_of_a_master_has_its_cause(
    diagnostics: str, kind: type[HarpyError], words: tuple[str, ...]
) -> None:
    error = ended_job("job-1", False, diagnostics)
    assert type(error) is kind
    for word in words:
        assert word in str(error)
    assert "Exception:" not in str(error)
    assert not error.replaceable


def test_a_job_whose_workers_failed_says_nothing_of_its_own() -> None:
    # JobImpl: the workers' own failures, which came before, are the cause.
    words = "Task failed task_1_0008_m_000001\nJob failed as tasks failed. failedMaps:1"
    assert ended_job("job-1", False, words) is None


@pytest.mark.parametrize(
    ("diagnostics", "words"),
    [
        # ClientRMService.forceKillApplication
        (
            f"{APPLICATION} was killed by user hdfs at 10.0.0.9 with diagnostic message: too long",
            "by user hdfs from 10.0.0.9: too long",
        ),
        (f"{APPLICATION} was killed by user hdfs at 10.0.0.9", "by user hdfs from 10.0.0.9"),
        (f"{APPLICATION} was killed by user hdfs", "by user hdfs"),
        # RMAppLifetimeMonitor
        (
            "Application is killed by ResourceManager as it has exceeded the lifetime period.",
            "maximum-application-lifetime",
        ),
        ("", "no word why"),
    ],
)
def test_a_killed_job_says_who_killed_it(diagnostics: str, words: str) -> None:
    error = ended_job("job-1", True, diagnostics)
    assert type(error) is JobKilled
    assert str(error).startswith("job job-1 was killed")
    assert words in str(error)


def test_a_stopped_queue_is_told_from_other_refusals() -> None:
    # AbstractLeafQueue.validateSubmitApplication, through YarnClientImpl
    stopped = (
        "Failed to submit application_1795253441560_0008 to YARN : org.apache.hadoop.security."
        "AccessControlException: Queue root.default is STOPPED. Cannot accept submission of "
        "application: application_1795253441560_0008"
    )
    error = launch_error({"kind": "SubmissionRefused", "message": stopped}, HadoopConf())
    assert type(error) is QueueStopped
    assert "queue root.default takes no applications: it is STOPPED" in str(error)
    assert "yarn.scheduler.capacity.root.default.state" in str(error)
    full = "Queue root.default already has 10 applications, cannot accept submission of application"
    refused = launch_error({"kind": "SubmissionRefused", "message": full}, HadoopConf())
    assert type(refused) is SubmissionRefused
    assert full in str(refused)


def test_losses_may_be_made_good_and_faults_may_not() -> None:
    kinds = [value for value in vars(errors).values() if isinstance(value, type)]
    good = {kind.__name__ for kind in kinds if getattr(kind, "replaceable", False)}
    assert good == {"WorkerLost", "WorkerKilled", "Preempted", "NodeLost", "PeerUnreachable"}
    assert AttemptFailure("a", Failure("PeerLost", "m", 1, "h", echo=True)).replaceable
    assert not AttemptFailure("a", Failure("ProgramFailed", "m", 1, "h")).replaceable
    assert not AttemptFailure("a", Failure("no such class", "m", 1, "h")).replaceable


NO_CLASS = f"""Application application_1_0001 failed 2 times due to AM Container for \
appattempt_1_0001_000002 exited with  exitCode: 1
Failing this attempt.Diagnostics: [2026-11-30 22:25:39.123]Exception from container-launch.
Container id: {CONTAINER}
Exit code: 1

[2026-11-30 22:25:39.125]Container exited with a non-zero exit code 1. Error file: prelaunch.err.
Last 4096 bytes of prelaunch.err :
Last 4096 bytes of stderr :
SLF4J: Failed to load class "org.slf4j.impl.StaticLoggerBinder".
Error: Could not find or load main class org.apache.hadoop.mapreduce.v2.app.MRAppMaster
Caused by: java.lang.ClassNotFoundException: org.apache.hadoop.mapreduce.v2.app.MRAppMaster

Please check whether your <HADOOP_HOME>/etc/hadoop/mapred-site.xml contains the below configuration:
<property>
  <name>yarn.app.mapreduce.am.env</name>
</property>

[2026-11-30 22:25:39.126]Container exited with a non-zero exit code 1. Error file: prelaunch.err.
For more detailed output, check the application tracking page: http://rm:8088/ Then click on links.
. Failing the application."""


def test_why_a_master_did_not_start_is_told_in_its_own_words() -> None:
    error = ended_job("job-1", False, NO_CLASS)
    assert type(error) is MasterLost
    for words in (
        "its class path lacks MapReduce",
        "HADOOP_MAPRED_HOME in yarn.app.mapreduce.am.env",
        "Hadoop says: Error: Could not find or load main class",
        "harpy logs job-1",
    ):
        assert words in str(error)
    assert "Container id" not in str(error)
    other = NO_CLASS.replace("Could not find or load main class", "Unrecognized option:")
    assert "Hadoop says: Error: Unrecognized option:" in str(ended_job("job-1", False, other))
