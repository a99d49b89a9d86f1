"""What a cluster allows, read from the submitter's `limits` event. Pure; preflight.py judges it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_UNLIMITED = 1 << 40


@dataclass(frozen=True)
class Resource:
    """Memory and cores of a node, a container or a queue."""

    memory_mb: int
    vcores: int

    @classmethod
    def of(cls, facts: Mapping[str, Any] | None) -> Resource:
        """Read either spelling: ours (memory_mb, vcores) or the web service's (memory, vCores)."""
        if not facts:
            return cls(0, 0)
        memory = facts.get("memory_mb", facts.get("memory", 0))
        return cls(int(memory), int(facts.get("vcores", facts.get("vCores", 0))))


@dataclass(frozen=True)
class Node:
    """A node of the cluster: what it has, and how much of it is in use."""

    host: str
    total: Resource
    used: Resource


@dataclass(frozen=True)
class Queue:
    """One queue. Limits are None where the scheduler has none or does not tell."""

    name: str
    path: str
    leaf: bool = True
    running: bool = True
    largest: Resource | None = None  # its own largest container
    max_mb: int | None = None  # all its applications together
    user_max_mb: int | None = None  # one user's applications: capacity x user-limit factor
    user_limit_factor: float | None = None
    master_max_mb: int | None = None  # all application masters together
    master_used_mb: int = 0
    used_mb: int = 0


@dataclass(frozen=True)
class Limits:
    """The static limits of a cluster, and what is in use now."""

    largest: Resource
    nodes: tuple[Node, ...]
    queues: tuple[Queue, ...]
    scheduler: str  # "capacity", "fair", "fifo" or "unknown"
    step_mb: int | None = None  # containers are rounded up to multiples of this
    vcores_count: bool = False  # whether a node that has no vcores left takes no container
    unknown: str = ""  # why user limits are not known

    @classmethod
    def from_event(cls, facts: Mapping[str, Any]) -> Limits:
        """Read the facts of a `limits` event."""
        nodes = tuple(
            Node(n["host"], Resource.of(n["total"]), Resource.of(n["used"])) for n in facts["nodes"]
        )
        largest = Resource.of(facts["largest"])
        info, why = _scheduler_info(facts["scheduler"])
        kind = str(info.get("type", ""))
        if kind == "capacityScheduler":
            queues = tuple(_capacity_queues(info, "root"))
            return cls(
                largest, nodes, queues, "capacity", _step_mb(info), _vcores_count(info, queues)
            )
        if kind == "fairScheduler":
            queues = tuple(_fair_queues(info["rootQueue"]))
            return cls(largest, nodes, queues, "fair", vcores_count=True)
        total_mb = sum(n.total.memory_mb for n in nodes)
        queues = tuple(_rpc_queue(q, total_mb) for q in facts["queues"])
        if kind == "fifoScheduler":
            return cls(largest, nodes, queues, "fifo")
        return cls(largest, nodes, queues, "unknown", unknown=why)


def _scheduler_info(text: str) -> tuple[Mapping[str, Any], str]:
    """The web service's answer; ({}, why not) when there is none."""
    if not text.startswith("{"):
        return {}, text
    try:
        return json.loads(text)["scheduler"]["schedulerInfo"], "an unknown kind of scheduler"
    except (ValueError, KeyError, TypeError):
        return {}, "the resource manager's web service gave no scheduler information"


def _capacity_queues(info: Mapping[str, Any], path: str) -> Iterator[Queue]:
    for queue in _listed(info.get("queues")):
        where = str(queue.get("queuePath") or f"{path}.{queue['queueName']}")
        children = _listed(queue.get("queues"))
        yield _capacity_queue(queue, where, leaf=not children)
        yield from _capacity_queues(queue, where)


def _capacity_queue(queue: Mapping[str, Any], path: str, *, leaf: bool) -> Queue:
    partition = _default_partition(queue)
    guaranteed = _effective(queue, partition, "minEffectiveCapacity", "effectiveMinResource")
    ceiling = _effective(queue, partition, "maxEffectiveCapacity", "effectiveMaxResource")
    # Leaves only; -1 stands for no limit.
    factor = float(queue.get("userLimitFactor", -1))
    limited = factor >= 0
    master = queue.get("AMResourceLimit")
    return Queue(
        name=str(queue["queueName"]),
        path=path,
        leaf=leaf,
        running=queue.get("state", "RUNNING") == "RUNNING",
        largest=Resource.of(queue["maximumAllocation"]) if "maximumAllocation" in queue else None,
        max_mb=ceiling.memory_mb if ceiling else None,
        user_max_mb=int(guaranteed.memory_mb * factor) if guaranteed and limited else None,
        user_limit_factor=factor if limited else None,
        master_max_mb=Resource.of(master).memory_mb if master else None,
        master_used_mb=Resource.of(queue.get("usedAMResource")).memory_mb,
        used_mb=Resource.of(queue.get("resourcesUsed")).memory_mb,
    )


def _default_partition(queue: Mapping[str, Any]) -> Mapping[str, Any]:
    parts = queue.get("capacities", {}).get("queueCapacitiesByPartition", [])
    found: list[Mapping[str, Any]] = [p for p in parts if not p.get("partitionName")]
    return found[0] if found else {}


def _effective(
    queue: Mapping[str, Any], partition: Mapping[str, Any], name: str, partition_name: str
) -> Resource | None:
    facts = queue.get(name) or partition.get(partition_name)
    return Resource.of(facts) if facts else None


def _step_mb(info: Mapping[str, Any]) -> int | None:
    """The minimum allocation, which is also the step; only deep inside the answer of Hadoop 3.x."""
    for queue in _listed(info.get("queues")):
        facts = _default_partition(queue).get("configuredMinResource", {})
        for entry in facts.get("resourceInformations", {}).get("resourceInformation", []):
            if entry.get("name") == "memory-mb" and 0 < entry["minimumAllocation"] < _UNLIMITED:
                return int(entry["minimumAllocation"])
    return None


def _vcores_count(info: Mapping[str, Any], queues: tuple[Queue, ...]) -> bool:
    """Whether the DominantResourceCalculator is in force. No interface says so, but the memory-only
    calculator computes every limit on application masters with exactly one vcore."""
    return any(Resource.of(q.get("AMResourceLimit")).vcores > 1 for q in _leaves(info) if queues)


def _leaves(info: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for queue in _listed(info.get("queues")):
        yield queue
        yield from _leaves(queue)


def _listed(queues: Mapping[str, Any] | None) -> list[Mapping[str, Any]]:
    """The web service writes one child as an object and several as a list."""
    found = (queues or {}).get("queue", [])
    return found if isinstance(found, list) else [found]


def _fair_queues(queue: Mapping[str, Any]) -> Iterator[Queue]:
    children = queue.get("childQueues") or {}
    path = str(queue["queueName"])
    ceiling = Resource.of(queue.get("maxResources")).memory_mb
    yield Queue(
        name=path.rsplit(".", 1)[-1],
        path=path,
        leaf=not _listed(children) and path != "root",
        largest=Resource.of(queue["maxContainerAllocation"])
        if queue.get("maxContainerAllocation")
        else None,
        max_mb=ceiling or None,
        used_mb=Resource.of(queue.get("usedResources")).memory_mb,
    )
    for child in _listed(children):
        yield from _fair_queues(child)


def _rpc_queue(facts: Mapping[str, Any], total_mb: int) -> Queue:
    share = facts.get("absolute_maximum_capacity")
    return Queue(
        name=str(facts["name"]),
        path=str(facts["name"]),
        leaf=bool(facts["leaf"]),
        running=facts.get("state") in (None, "RUNNING"),
        max_mb=int(share * total_mb) if share and 0 < share <= 1 else None,
    )
