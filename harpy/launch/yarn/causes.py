"""What Hadoop says when it ends a container, a master or a job, as harpy's errors. Pure.

Each is recognised by Hadoop's own words, as the classes named beside it spell them in Hadoop
3.5.0. docs/causes.md is the table for people.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

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
    WorkerKilled,
    WorkerLost,
)

_TIME = re.compile(r"^\[\d{4}-\d\d-\d\d [\d:.]+\]")
_JAVA_CLASS = re.compile(r"\b(?:[a-z][\w]*\.){2,}(?:\w+\$)?\w*(?:Exception|Error|InvalidToken): ")
_FRAME = re.compile(r"\s*(at [\w.$/<>@-]+\(.*\)|\.\.\. \d+ more)\s*")
_SAYS_NOTHING = re.compile(r"(?:[a-z]\w*\.){2,}[\w$]+:?|at .*|Exception from container-launch\.")
_MASTER = re.compile(
    r"failed (?P<times>\d+) times?.* due to (?P<how>AM Container|ApplicationMaster for attempt)",
    re.DOTALL,
)
# ContainerLaunch.handleContainerExitWithFailure: the end of what the process itself wrote.
_STDERR = re.compile(
    r"^Last \d+ bytes of (?:stderr|prelaunch\.err) :\n(.*?)(?=^\[\d{4}-|^Last \d+ bytes|"
    r"^For more detailed output|\Z)",
    re.DOTALL | re.MULTILINE,
)
_CHATTER = re.compile(r"SLF4J|log4j:|WARNING:|OpenJDK .*warning|Picked up |Defaulting to ")
_NO_MASTER_CLASS = "Could not find or load main class org.apache.hadoop.mapreduce"
_EXIT_CODE = re.compile(r"exited with\s+exitCode: (-?\d+)")
_KILLED_BY = re.compile(
    r"was killed by user (?P<user>\S+)(?: at (?P<from>[\d.a-fA-F:]*[\da-fA-F]))?"
)
_LIFETIME = re.compile(r"exceeded the lifetime")  # RMAppLifetimeMonitor


@dataclass(frozen=True)
class KnownEnding:
    """One way in which Hadoop ends a container."""

    kind: type[HarpyError]
    words: re.Pattern[str]
    what: str  # after "rank 1 on n2 "
    advice: str


def _ending(kind: type[HarpyError], words: str, what: str, advice: str) -> KnownEnding:
    return KnownEnding(kind, re.compile(words), what, advice)


# In this order: what comes first explains what comes after it.
ENDINGS = (
    # ContainersMonitorImpl; CGroupElasticMemoryController (KILLED_EXCEEDED_PMEM, _VMEM)
    _ending(
        MemoryExceeded,
        r"beyond the '(PHYSICAL|VIRTUAL)' memory limit"
        r"|killed by elastic cgroups OOM handler|exitCode: -10[34]\b",
        "was killed by its node manager: it took more memory than its container has",
        "Raise n_mem, or spread the rows over more workers (n_node).",
    ),
    # SchedulerUtils.PREEMPTED_CONTAINER; ContainerScheduler of opportunistic containers
    _ending(
        Preempted,
        r"Container preempted by scheduler|Container Killed to make room for Guaranteed"
        r"|exitCode: -102\b",
        "was preempted: the scheduler took its container for another queue or user",
        "Use a queue with guaranteed capacity (queue=...), or ask for what yours is guaranteed.",
    ),
    # LocalDirAllocator; LocalDirsHandlerService; ContainerLaunch; ResourceLocalizationService
    _ending(
        DiskFull,
        r"No space left on device|No space available in any of the local directories"
        r"|Could not find any valid local directory|Most of the disks failed|All disks failed"
        r"|dirs usable space is below configured utilization|Disk\(s\) failed"
        r"|Disks might have failed|exitCode: -101\b",
        "found no usable local disk on its node",
        "Free space under yarn.nodemanager.local-dirs and log-dirs of that node; YARN leaves disks "
        "that are fuller than "
        "yarn.nodemanager.disk-health-checker.max-disk-utilization-per-disk-percentage.",
    ),
    # FSDownload; ResourceLocalizationService
    _ending(
        LocalizationFailed,
        r"Failed to download resource|changed on src filesystem|Localizer failed for"
        r"|is not publicly accessible|exitCode: -1000\b"
        r"|at org\.apache\.hadoop\.yarn\.util\.FSDownload",
        "could not be started: its node could not fetch the files of the job",
        "Can that node reach the file system of yarn.app.mapreduce.am.staging-dir, and did nobody "
        "remove files there?",
    ),
    # SchedulerUtils.LOST_CONTAINER; RMContainerAllocator; JobImpl; ContainerLauncherImpl;
    # TaskHeartbeatHandler
    _ending(
        NodeLost,
        r"released on a \*lost\* node|ran on unusable node|Container launch failed for"
        r"|task timeout set: \d+s, taskTimedOut: true|Timed out after \d+ secs",
        "is lost: its node, or the node's manager, does not answer",
        "yarn node -list -all shows the state of the nodes.",
    ),
    # ContainerLaunch: 128 + 9, the kernel's out-of-memory killer as a rule
    _ending(
        WorkerKilled,
        r"[Ee]xit code (is |from container \S+ is : )?137\b|non-zero exit code 137\b",
        "was killed by SIGKILL",
        "If nobody killed it, its machine ran out of memory (dmesg tells): ask for more n_mem, or "
        "for fewer workers on a node.",
    ),
)


def find_ending(words: str) -> KnownEnding | None:
    """The ending that Hadoop's `words` about a container describe; None if it is none of these."""
    return next((ending for ending in ENDINGS if ending.words.search(words)), None)


def hadoop_says(words: str) -> str:
    """The reason within Hadoop's `words`.

    It is the first line of the process's own stderr, if Hadoop quotes it; else the first line that
    says something, without its time and Java's class names, or the innermost cause of an exception
    that says nothing itself.
    """
    own = _process_says(words)
    if own:
        return own
    lines = [_TIME.sub("", line.strip()).strip() for line in words.splitlines()]
    causes = [line for line in reversed(lines) if line.startswith("Caused by: ")]
    for line in (*lines[:1], *causes, *lines[1:]):
        said = _JAVA_CLASS.sub("", line.removeprefix("Caused by: "))
        if said and not _SAYS_NOTHING.fullmatch(said):
            return said
    return "Hadoop gives no reason"


def _process_says(words: str) -> str:
    """The first line that says something of the stderr which Hadoop quotes; empty if there is
    none."""
    for part in _STDERR.findall(words):
        for line in part.splitlines():
            said = _JAVA_CLASS.sub("", line.strip().removeprefix("Exception in thread "))
            if said and not _CHATTER.match(said) and not _SAYS_NOTHING.fullmatch(said):
                return said
    return ""


def without_java(words: str) -> str:
    """Hadoop's `words` without the frames of Java's stack traces and without its class names."""
    lines = (line for line in words.splitlines() if not _FRAME.fullmatch(line))
    return "\n".join(_JAVA_CLASS.sub("", line) for line in lines)


def refused(words: str) -> HarpyError | None:
    """The error of a submission that a queue refused; None for any other refusal.

    LeafQueue.validateSubmitApplication (AbstractLeafQueue since 3.3), CapacityScheduler.
    """
    found = re.search(r"Queue (\S+) is (STOPPED|DRAINING)", words)
    return None if found is None else queue_stopped(found[1], found[2])


def queue_stopped(queue: str, state: str) -> QueueStopped:
    """The error of a queue in that state, as the preflight or the submission found it."""
    return QueueStopped(
        f"queue {queue} takes no applications: it is {state}.\n"
        "  Ask for another queue (queue=...; mapred queue -list names them), or have this one "
        f"started (yarn.scheduler.capacity.{queue}.state)."
    )


def ended_job(job_id: str, killed: bool, diagnostics: str) -> HarpyError | None:
    """The error of a job that has ended by itself or was killed, from the resource manager's
    diagnostics; None if these name no reason of their own.

    RMAppImpl, RMAppAttemptImpl, ClientRMService.forceKillApplication.
    """
    if killed:
        return JobKilled(f"job {job_id} was killed{_by_whom(diagnostics)}")
    master = _MASTER.search(diagnostics)
    return None if master is None else _master_lost(job_id, master, diagnostics)


def _by_whom(diagnostics: str) -> str:
    found = _KILLED_BY.search(diagnostics)
    if _LIFETIME.search(diagnostics):
        return (
            ": it exceeded the lifetime that its queue allows "
            "(yarn.scheduler.capacity.<queue>.maximum-application-lifetime)"
        )
    if found is None:
        return f": {hadoop_says(diagnostics) if diagnostics.strip() else 'no word why'}"
    client = f" from {found['from']}" if found["from"] else ""
    reason = diagnostics[found.end() :].partition("with diagnostic message:")[2].strip()
    return f" by user {found['user']}{client}" + (f": {reason}" if reason else "")


def _master_lost(job_id: str, master: re.Match[str], diagnostics: str) -> HarpyError:
    """The application master ended as often as yarn.resourcemanager.am.max-attempts allows."""
    times = f"{master['times']} times" if master["times"] != "1" else "once"
    start = f"the application master of job {job_id} ended {times}, after which YARN gives up"
    words = diagnostics.partition("Diagnostics:")[2] or diagnostics
    ending = find_ending(diagnostics)
    kind = ending.kind if ending else None
    if kind is MemoryExceeded:
        return MasterMemoryExceeded(
            f"{start}: it took more memory than its container has.\n"
            "  Raise yarn.app.mapreduce.am.resource.mb, and -Xmx in "
            "yarn.app.mapreduce.am.command-opts below it, through hadoop_conf.\n"
            f"  Hadoop says: {hadoop_says(words)}"
        )
    if kind in (LocalizationFailed, DiskFull):
        assert ending is not None and kind is not None
        return kind(
            f"{start}: it {ending.what}.\n  {ending.advice}\n  Hadoop says: {hadoop_says(words)}"
        )
    if _NO_MASTER_CLASS in diagnostics:
        return MasterLost(
            f"{start}: its class path lacks MapReduce.\n"
            "  Does mapred-site.xml of this client say where MapReduce is on the nodes, by "
            "HADOOP_MAPRED_HOME in yarn.app.mapreduce.am.env and mapreduce.map.env, by "
            "mapreduce.application.classpath, or by mapreduce.application.framework.path?\n"
            f"  Hadoop says: {hadoop_says(words)}; all of it: harpy logs {job_id}"
        )
    how = _how_master_ended(master, diagnostics, ending)
    return MasterLost(
        f"{start}: {how}.\n  Was its node or its process killed? harpy logs {job_id} has its log; "
        "yarn.resourcemanager.am.max-attempts and mapreduce.am.max-attempts say how often YARN "
        f"tries.\n  Hadoop says: {hadoop_says(words)}"
    )


def _how_master_ended(master: re.Match[str], diagnostics: str, ending: KnownEnding | None) -> str:
    if master["how"].startswith("ApplicationMaster"):
        return "it said nothing within yarn.am.liveness-monitor.expiry-interval-ms"
    if ending is not None and ending.kind in (Preempted, NodeLost):
        return f"the last one {ending.what}"
    code = _EXIT_CODE.search(diagnostics)
    return f"the last with exit code {code[1]}" if code else "without a word"


def lost_worker(rank: int, host: str, words: str) -> tuple[type[HarpyError], str]:
    """Class and message of a worker whose container Hadoop ended, or never started."""
    worker = f"rank {rank} on {host or 'an unknown node'}"
    ending = find_ending(words)
    if ending is None:
        return WorkerLost, f"{worker}: {hadoop_says(words)}"
    said = hadoop_says(words)
    return ending.kind, f"{worker} {ending.what}.\n  {ending.advice}\n  Hadoop says: {said}"
