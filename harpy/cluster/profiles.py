"""What the embedded cluster sets and why: one readable table per profile.

Values in braces are filled in by site_files.py: {memory_mb} and {vcores} of one node manager.
Addresses and paths are not here: they follow from the state directory and the ports.
"""

from __future__ import annotations

from collections.abc import Mapping

# site file -> setting -> (value, reason)
Profile = Mapping[str, Mapping[str, tuple[str, str]]]

# What one machine needs whatever it imitates.
SINGLE_MACHINE: Profile = {
    "core-site.xml": {
        "hadoop.user.group.static.mapping.overrides": (
            "hdfs=supergroup;mapred=hadoop;yarn=hadoop",
            "these users need not exist on this machine; saves a fork of `id` per lookup",
        ),
        "hadoop.http.staticuser.user": (
            "anonymous",
            "the web pages show what everybody may read",
        ),
    },
    "hdfs-site.xml": {
        "dfs.replication": ("1", "one DataNode"),
        "dfs.namenode.datanode.registration.ip-hostname-check": (
            "false",
            "a numeric address without a reverse name is enough",
        ),
        "dfs.namenode.safemode.extension": ("0", "leave safe mode as soon as the blocks are there"),
        "dfs.namenode.safemode.min.datanodes": ("1", "out of safe mode means: can be written to"),
        "dfs.namenode.checkpoint.txns": (
            "100000000",
            "there is no second NameNode; the image is written at start",
        ),
    },
    "yarn-site.xml": {
        "yarn.nodemanager.aux-services": (
            "mapreduce_shuffle",
            "MapReduce's containers name it even with 0 reducers",
        ),
        "yarn.nodemanager.disk-health-checker.max-disk-utilization-per-disk-percentage": (
            "99",
            "at Hadoop's 90 % a laptop's ordinary disk counts as broken",
        ),
        "yarn.resourcemanager.recovery.enabled": (
            "true",
            "a restarted resource manager knows its applications",
        ),
        "yarn.resourcemanager.store.class": (
            "org.apache.hadoop.yarn.server.resourcemanager.recovery.FileSystemRMStateStore",
            "a store without ZooKeeper or native code",
        ),
        "yarn.resourcemanager.scheduler.class": (
            "org.apache.hadoop.yarn.server.resourcemanager.scheduler.capacity.CapacityScheduler",
            "Hadoop's default, and the one nearly everybody runs",
        ),
        "yarn.log-aggregation-enable": (
            "true",
            "`yarn logs` can show a finished application's containers; costs the job nothing",
        ),
        "yarn.log-aggregation.retain-seconds": ("259200", "three days of logs in HDFS are plenty"),
        "yarn.nodemanager.resource.memory-mb": ("{memory_mb}", "booked, not real: --memory-mb"),
        "yarn.nodemanager.resource.cpu-vcores": ("{vcores}", "booked, not real: --vcores"),
        "yarn.timeline-service.enabled": ("false", "not started"),
    },
    "mapred-site.xml": {
        "mapreduce.framework.name": ("yarn", "not the in-process runner"),
        "mapreduce.jvm.add-opens-as-default": ("true", "Hadoop reflects into java.lang on Java 17"),
        "yarn.app.mapreduce.am.staging-dir": ("/user", "staging belongs into the users' homes"),
    },
    "capacity-scheduler.xml": {
        "yarn.scheduler.capacity.root.queues": ("default", "one queue"),
        "yarn.scheduler.capacity.root.default.capacity": ("100", "which has everything"),
        "yarn.scheduler.capacity.root.default.state": ("RUNNING", "and takes jobs"),
        "yarn.scheduler.capacity.schedule-asynchronously.scheduling-interval-ms": (
            "25",
            "looking for room every 5 ms costs an idle cluster 2 % of a core for good",
        ),
    },
}

# For people: starts jobs as fast as one machine can, grants what a default fit asks for.
QUICK: Profile = {
    "yarn-site.xml": {
        "yarn.resourcemanager.nodemanagers.heartbeat-interval-ms": (
            "100",
            "containers are handed out at heartbeats: Hadoop's second is felt at every step",
        ),
        "yarn.nodemanager.vmem-check-enabled": (
            "false",
            "Python with threads maps far more memory than it uses",
        ),
        "yarn.scheduler.minimum-allocation-mb": ("128", "small containers stay small"),
        "yarn.scheduler.maximum-allocation-mb": ("{memory_mb}", "one container may fill a node"),
        "yarn.scheduler.maximum-allocation-vcores": ("{vcores}", "the same for its threads"),
        "yarn.nm.liveness-monitor.expiry-interval-ms": (
            "10000",
            "a dead node manager is noticed after 10 s, not 10 min",
        ),
        "yarn.am.liveness-monitor.expiry-interval-ms": (
            "20000",
            "the same for an application master",
        ),
        "yarn.nodemanager.log-container-debug-info.enabled": (
            "false",
            "saves each container's start several forks of `find` and `ls`",
        ),
        "yarn.resourcemanager.work-preserving-recovery.scheduling-wait-ms": (
            "1000",
            "a restarted resource manager gives out containers after 1 s, not 10",
        ),
    },
    "mapred-site.xml": {
        "yarn.app.mapreduce.am.resource.mb": ("512", "a master of a few tasks needs no 1.5 GB"),
        "yarn.app.mapreduce.am.command-opts": (
            "-Xmx384m -XX:+UseSerialGC -XX:TieredStopAtLevel=1",
            "a short-lived JVM: start fast rather than peak speed",
        ),
        "yarn.app.mapreduce.am.scheduler.heartbeat.interval-ms": ("100", "as the node managers'"),
        "mapreduce.map.memory.mb": ("512", "what a map task of one's own gets by default"),
        "mapreduce.map.java.opts": (
            "-Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1",
            "a short-lived JVM: start fast rather than peak speed",
        ),
    },
    "capacity-scheduler.xml": {
        "yarn.scheduler.capacity.maximum-am-resource-percent": (
            "0.8",
            "several small jobs may have their masters at once",
        ),
        "yarn.scheduler.capacity.root.default.user-limit-factor": (
            "10",
            "one person may have all of it",
        ),
    },
}

# Hadoop's own defaults where they limit something, written out so that they need not be looked up.
STOCK: Profile = {
    "yarn-site.xml": {
        "yarn.resourcemanager.nodemanagers.heartbeat-interval-ms": ("1000", "Hadoop's default"),
        "yarn.nodemanager.vmem-check-enabled": ("true", "kills what maps too much"),
        "yarn.nodemanager.vmem-pmem-ratio": ("2.1", "address space per granted memory"),
        "yarn.nodemanager.pmem-check-enabled": ("true", "kills what uses too much"),
        "yarn.nodemanager.resource.memory.enforced": (
            "false",
            "at true, Hadoop 3.5's default, both checks are left to control groups, in use or not",
        ),
        "yarn.scheduler.minimum-allocation-mb": ("1024", "every container is rounded up to it"),
        "yarn.scheduler.maximum-allocation-mb": ("8192", "below harpy's default n_mem of 10240"),
        "yarn.scheduler.maximum-allocation-vcores": ("4", "below harpy's default n_thread of 8"),
    },
    "capacity-scheduler.xml": {
        "yarn.scheduler.capacity.maximum-am-resource-percent": (
            "0.1",
            "one master at a time on a small node",
        ),
        "yarn.scheduler.capacity.root.default.user-limit-factor": (
            "1",
            "one person gets the queue's capacity, not its maximum",
        ),
    },
}
