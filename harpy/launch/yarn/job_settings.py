"""Every setting of the MapReduce job that carries a gang, each beside its reason. Pure.

What the site set is added to, never replaced: its environment variables, Java options and tags.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from harpy.config import Deadlines
from harpy.launch.base import GangSpec

TAG = "harpy"
# The application master watches a few maps; YARN rounds its memory up to the minimum allocation.
MASTER_MEMORY_MB = 512
MASTER_VCORES = 1
# The task's JVM only passes lines on. This much of n_mem is its share, the rest is Python's.
JVM_SHARE_MB = 192
_TASK_HEAP_MB = 64
_MASTER_HEAP_MB = 320
# Quick start beats peak speed: C1 only, serial GC, the JDK's class archive. The reservations are
# capped because stock clusters count *virtual* memory (2.1 times the container) and a JVM
# reserves 1 GB of class space and 48 MB of code by default.
_JVM_FLAGS = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xshare:auto -Xss512k"
_MASTER_FLAGS = f"{_JVM_FLAGS} -XX:CompressedClassSpaceSize=64m -XX:ReservedCodeCacheSize=48m"
_TASK_FLAGS = f"{_JVM_FLAGS} -XX:CompressedClassSpaceSize=32m -XX:ReservedCodeCacheSize=32m"
# One malloc arena per thread reserves 64 MB each.
_ARENAS = ("MALLOC_ARENA_MAX", "2")
# A site's Java options that harpy's replace: heap sizes, which would contradict -Xmx, and the
# garbage collector, of which a JVM takes only one.
_REPLACED = re.compile(
    r"-X(m[sxn]).*|-XX:(Initial|Max|Min)?(Heap|New|RAM)(Size|Percentage|Fraction)=.*"
    r"|-XX:[+-]Use\w+GC"
)
_POLL_MS = "100"
# For the submitting JVM from its start, and for the application master.
CLIENT_SETTINGS = {
    # Closing a file asks the NameNode whether the last block has been reported; the DataNode does
    # that some milliseconds after the last byte. Hadoop's client would ask again after 400 ms, and
    # a submission closes four files, a master three.
    "dfs.client.block.write.locateFollowingBlock.initial.delay.ms": "20",
    "dfs.client.block.write.locateFollowingBlock.retries": "10",  # doubling: 20 s in all
}


def job_settings(spec: GangSpec, conf: Mapping[str, str], deadlines: Deadlines) -> dict[str, str]:
    """Return the configuration of the job of `spec`.

    Parameters
    ----------
    spec : GangSpec
        The user's own settings in it win over harpy's, but for the tags, which are added to.
    conf : mapping
        The client's configuration as its site files say it.
    deadlines : Deadlines
    """
    return {
        **_gang(spec, deadlines),
        **_containers(spec, conf),
        **CLIENT_SETTINGS,
        **_speed(),
        **_failures(spec),
        **spec.hadoop_conf,
        "mapreduce.job.tags": _tags(spec, conf),
    }


def _gang(spec: GangSpec, deadlines: Deadlines) -> dict[str, str]:
    settings = {
        "harpy.python": spec.python,
        "harpy.n-node": str(spec.grant.n_node),
        "harpy.n-thread": str(spec.grant.n_thread),
        "harpy.memory-mb": str(spec.grant.python_mb or 0),
        "harpy.job-url": spec.job_url,
        "harpy.first-attempt": str(spec.first_attempt),
        "harpy.silence-ms": str(round(deadlines.silence_s * 1000)),
        "harpy.hello-ms": str(round(deadlines.rendezvous_s * 1000)),
        "mapreduce.job.name": spec.name,
    }
    if spec.grant.queue:
        settings["mapreduce.job.queuename"] = spec.grant.queue
    read = (file.path for share in spec.shares for file in share)
    servers = dict.fromkeys(filter(None, map(_server, (spec.job_url, *read))))
    if servers:
        # Without it only fs.defaultFS gets a delegation token: there is no output path to tell.
        settings["mapreduce.job.hdfs-servers"] = ",".join(servers)
    for rank, share in enumerate(spec.shares):
        ranges = (f"{file.offset} {file.length} {file.path}" for file in share)
        settings[f"harpy.share.{rank}"] = "\n".join(ranges)
    settings.update({f"harpy.env.{name}": value for name, value in spec.env.items()})
    return settings


def _server(url: str) -> str:
    parts = urlsplit(url)
    return "" if parts.scheme in ("", "file") else f"{parts.scheme}://{parts.netloc}"


def _tags(spec: GangSpec, conf: Mapping[str, str]) -> str:
    """harpy's own tags, by which every shell finds the job, then those of site or user."""
    given = spec.hadoop_conf.get("mapreduce.job.tags", conf.get("mapreduce.job.tags", ""))
    tags = [TAG, spec.job_id, *(tag.strip() for tag in given.split(","))]
    return ",".join(dict.fromkeys(filter(None, tags)))


def _containers(spec: GangSpec, conf: Mapping[str, str]) -> dict[str, str]:
    return {
        "mapreduce.map.memory.mb": str(spec.grant.n_mem),
        "mapreduce.map.cpu.vcores": str(spec.grant.vcores),
        "mapreduce.map.java.opts": _java_options(
            conf.get("mapreduce.map.java.opts", conf.get("mapred.child.java.opts", "")),
            f"-Xmx{_TASK_HEAP_MB}m {_TASK_FLAGS}",
        ),
        **_variable("mapreduce.map.env", conf),
        "yarn.app.mapreduce.am.resource.mb": str(MASTER_MEMORY_MB),
        "yarn.app.mapreduce.am.resource.cpu-vcores": str(MASTER_VCORES),
        "yarn.app.mapreduce.am.command-opts": _java_options(
            conf.get("yarn.app.mapreduce.am.command-opts", ""),
            f"-Xmx{_MASTER_HEAP_MB}m {_MASTER_FLAGS}",
        ),
        **_variable("yarn.app.mapreduce.am.env", conf),
    }


def _java_options(site: str, ours: str) -> str:
    """The site's options, such as -Djava.security.krb5.conf, then ours: of two, a JVM takes the
    last."""
    kept = [option for option in site.split() if not _REPLACED.fullmatch(option)]
    return " ".join([*kept, ours])


def _variable(key: str, conf: Mapping[str, str]) -> dict[str, str]:
    """One variable beside those the site sets under the same key, such as the HADOOP_MAPRED_HOME
    that Hadoop's own documentation advises (MRApps.setEnvFromInputProperty reads both forms)."""
    name, value = _ARENAS
    said = re.search(rf"(^|,)\s*{name}\s*=", conf.get(key, ""))
    return {} if said else {f"{key}.{name}": value}


def _speed() -> dict[str, str]:
    return {
        # The defaults suit jobs of hours: they poll once a second, at several steps in a row.
        "mapreduce.client.progressmonitor.pollinterval": _POLL_MS,
        "mapreduce.client.completion.pollinterval": _POLL_MS,
        "yarn.client.app-submission.poll-interval": _POLL_MS,
        "yarn.client.application-client-protocol.poll-interval-ms": _POLL_MS,
        "yarn.app.mapreduce.am.scheduler.heartbeat.interval-ms": _POLL_MS,
        # From the child's status line to the master's task report.
        "mapreduce.task.progress-report.interval": "1000",
        # The default of 10 replicas of a 20 kB jar writes a pipeline across 10 nodes.
        "mapreduce.client.submit.file.replication": "3",
        # A worker has no twin: a second copy of a rank would fence the first.
        "mapreduce.map.speculative": "false",
        "mapreduce.reduce.speculative": "false",
        # Uber mode would run the workers one after another inside the master.
        "mapreduce.job.ubertask.enable": "false",
        "mapreduce.job.reduces": "0",
        # All workers must run at once; there is no reduce to start early either.
        "mapreduce.job.running.map.limit": "0",
    }


def _failures(spec: GangSpec) -> dict[str, str]:
    return {
        "mapreduce.map.maxattempts": str(spec.max_attempts),
        # A failure that no other attempt makes good ends the job at once: FinalFailure.java.
        "mapreduce.job.dfs.storage.capacity.kill-limit-exceed": "true",
        # Blacklisting a node after failures would leave a small cluster without nodes.
        "yarn.app.mapreduce.am.job.node-blacklisting.enable": "false",
        # A second master starts all ranks anew: completed ones are not to be kept.
        "yarn.app.mapreduce.am.job.recovery.enable": "false",
        # The task's JVM reports for its worker, so only a vanished host is silent for so long. But
        # the time begins with the container, and on a starved node a JVM needs 15 s to report.
        "mapreduce.task.timeout": "30000",
        "mapreduce.task.timeout.check-interval-ms": "1000",
        # A host that vanished, as the master sees it: 19 s to a replacement instead of minutes.
        "yarn.client.nodemanager-connect.max-wait-ms": "3000",
        "yarn.rpc.nm-command-timeout": "3000",
        "ipc.client.connect.timeout": "2000",
        "ipc.client.connect.max.retries.on.timeouts": "1",
    }
