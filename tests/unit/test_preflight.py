"""What preflight grants, lowers and refuses, on clusters written out in numbers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from harpy.errors import DemandRefused, QueueStopped
from harpy.launch.base import Demand
from harpy.launch.yarn.limits import Limits, Node, Queue, Resource
from harpy.launch.yarn.preflight import grant_resources

BOTH = frozenset({"n_thread", "n_mem"})
NOTHING = Resource(0, 0)


def cluster(*nodes: Resource, **more: Any) -> Limits:
    """A capacity scheduler with one queue that has everything; `more` overrides fields."""
    total = sum(n.memory_mb for n in nodes)
    queue = Queue("default", "root.default", max_mb=total, user_max_mb=10 * total)
    chosen: dict[str, Any] = {
        "largest": Resource(8192, 4),
        "nodes": tuple(Node(f"n{i}", n, NOTHING) for i, n in enumerate(nodes)),
        "queues": (queue,),
        "scheduler": "capacity",
        "step_mb": 1024,
    }
    return Limits(**{**chosen, **more})


STOCK = cluster(Resource(8192, 8))
# The embedded cluster's default: one container may fill its one node.
EMBEDDED = cluster(Resource(12288, 16), largest=Resource(12288, 16), step_mb=128)


def test_untouched_defaults_fit_the_embedded_cluster() -> None:
    grant = grant_resources(Demand(1, 8, 10240, wishes=BOTH), EMBEDDED)
    assert (grant.n_thread, grant.n_mem, grant.vcores) == (8, 10240, 8)
    assert grant.notes == grant.warnings == ()


def test_wishes_are_lowered_to_a_stock_clusters_largest_container_beside_the_master() -> None:
    # 8192 MB hold the master's 512, booked as 1024, and one container of 7 x 1024.
    grant = grant_resources(Demand(1, 8, 10240, wishes=BOTH), STOCK)
    assert (grant.n_thread, grant.n_mem, grant.vcores) == (4, 7168, 4)
    assert len(grant.notes) == 2
    assert "n_thread lowered from 8 to 4" in grant.notes[0]
    assert "n_mem lowered from 10240 to 7168 MB" in grant.notes[1]


def test_wished_memory_is_shared_by_the_workers() -> None:
    # (12288 - 512) / 2 = 5888 = 46 x 128.
    assert grant_resources(Demand(2, 1, 10240, wishes=BOTH), EMBEDDED).n_mem == 5888
    # (8192 - 1024) / 3 = 2389: two steps of 1024 each.
    assert grant_resources(Demand(3, 1, 10240, wishes=BOTH), STOCK).n_mem == 2048


@pytest.mark.parametrize(
    ("demand", "words"),
    [
        (Demand(1, 1, 10240), "asked 10240 MB, available 8192 MB"),
        (Demand(1, 8, 1024), "asked 8 vcores, available 4 vcores"),
        (Demand(8, 1, 1024), "asked 8 workers of 1024 MB, available room for 7"),
        (Demand(1, 1, 8192), "asked 1 worker of 8192 MB, available room for 0"),
        (Demand(1, 1, 64), "asked 64 MB, needed 384 MB"),
        (Demand(20, 1, 10240, wishes=BOTH), "asked 20 workers of 1024 MB, available room for 7"),
    ],
)
def test_a_demand_that_can_never_be_met_is_refused_with_numbers(demand: Demand, words: str) -> None:
    with pytest.raises(DemandRefused) as caught:
        grant_resources(demand, STOCK)
    assert words in str(caught.value)
    assert isinstance(caught.value, ValueError)


def test_memory_is_counted_per_node_not_in_sum() -> None:
    # 2 x 6144 hold the master and one container of 6144; a third of the sum would fit nowhere.
    two = cluster(Resource(6144, 8), Resource(6144, 8))
    assert grant_resources(Demand(1, 1, 6144), two).n_mem == 6144
    with pytest.raises(DemandRefused, match="available room for 1"):
        grant_resources(Demand(2, 1, 6144), two)
    # The master goes where it costs nothing: 6144 = 1024 + 5120.
    assert grant_resources(Demand(2, 1, 5120), two).n_node == 2


def test_containers_are_booked_in_whole_steps() -> None:
    # 3 x 2100 and 512 are 6812 of 8192 MB, but are booked as 3 x 3072 and 1024.
    with pytest.raises(DemandRefused, match="3 workers of 3072 MB, available room for 2"):
        grant_resources(Demand(3, 1, 2100), STOCK)
    assert grant_resources(Demand(2, 1, 2100), STOCK).n_mem == 2100


def test_vcores_limit_a_node_only_where_the_scheduler_counts_them() -> None:
    node = Resource(8192, 4)
    assert grant_resources(Demand(3, 4, 1024), cluster(node)).vcores == 4
    with pytest.raises(DemandRefused, match="room for 0"):
        grant_resources(Demand(1, 4, 1024), cluster(node, vcores_count=True))
    assert grant_resources(Demand(3, 1, 1024), cluster(node, vcores_count=True)).n_node == 3


def test_wished_threads_are_lowered_to_the_largest_node_where_vcores_count() -> None:
    counted = cluster(Resource(8192, 3), Resource(8192, 3), vcores_count=True)
    grant = grant_resources(Demand(1, 8, 1024, wishes=BOTH), counted)
    assert grant.n_thread == grant.vcores == 3
    assert "vcores of the largest node" in grant.notes[0]


def queue(**more: Any) -> Limits:
    """Four nodes of 8192 MB and a queue that has less than all of them."""
    chosen: dict[str, Any] = {"name": "small", "path": "root.small", "max_mb": 32768, **more}
    return cluster(*[Resource(8192, 8)] * 4, queues=(Queue(**chosen),))


def test_the_queues_maximum_is_a_limit() -> None:
    with pytest.raises(DemandRefused) as caught:
        grant_resources(Demand(4, 1, 4096, queue="small"), queue(max_mb=16384))
    assert "asked 17408 MB (4 x 4096 and 1024 for the master)" in str(caught.value)
    assert "available 16384 MB: the maximum of queue root.small" in str(caught.value)
    assert grant_resources(Demand(3, 1, 4096, queue="root.small"), queue(max_mb=16384)).n_node == 3


def test_capacity_times_user_limit_factor_is_a_limit() -> None:
    # The last container may begin while the user is still below the limit: 1024 + 3 x 4096.
    limits = queue(user_max_mb=8192, user_limit_factor=1.0)
    with pytest.raises(DemandRefused, match="capacity times its user-limit factor 1"):
        grant_resources(Demand(4, 1, 4096, queue="small"), limits)
    grant = grant_resources(Demand(2, 1, 4096, queue="small"), limits)
    assert "pass one user's part of queue root.small (8192 MB)" in grant.warnings[0]


def test_a_queue_may_have_a_smaller_largest_container() -> None:
    with pytest.raises(DemandRefused, match=r"largest container of queue root\.small"):
        grant_resources(Demand(1, 1, 4096, queue="small"), queue(largest=Resource(2048, 2)))
    grant = grant_resources(
        Demand(1, 8, 4096, "small", wishes=BOTH), queue(largest=Resource(2048, 2))
    )
    assert (grant.n_mem, grant.n_thread) == (2048, 2)


def test_queues_that_take_no_application_are_refused_by_name() -> None:
    with pytest.raises(DemandRefused, match=r"no queue 'other'; the cluster has: root\.small"):
        grant_resources(Demand(1, 1, 1024, queue="other"), queue())
    with pytest.raises(QueueStopped, match="takes no applications: it is STOPPED"):
        grant_resources(Demand(1, 1, 1024, queue="small"), queue(running=False))
    with pytest.raises(DemandRefused, match="takes no applications"):
        grant_resources(Demand(1, 1, 1024, queue="small"), queue(leaf=False))


def test_busy_now_is_a_warning_with_numbers_never_a_refusal() -> None:
    busy = Limits(
        largest=Resource(8192, 4),
        nodes=(Node("n0", Resource(8192, 8), Resource(5120, 3)),),
        queues=(
            Queue(
                "default",
                "root.default",
                max_mb=8192,
                used_mb=5120,
                master_max_mb=1024,
                master_used_mb=1024,
            ),
        ),
        scheduler="capacity",
        step_mb=1024,
    )
    grant = grant_resources(Demand(2, 1, 2048), busy)
    assert grant.n_node == 2
    assert "room for 1 of 2 workers of 2048 MB (3072 of 8192 MB free)" in grant.warnings[0]
    assert "queue root.default uses 5120 of 8192 MB and 5120 MB are asked" in grant.warnings[1]
    assert "application masters hold 1024 of the 1024 MB" in grant.warnings[2]


def event(scheduler: object, **more: Any) -> dict[str, Any]:
    """The submitter's `limits` event of a stock node."""
    node = {"memory_mb": 8192, "vcores": 8}
    return {
        "largest": {"memory_mb": 8192, "vcores": 4},
        "nodes": [{"host": "n0", "total": node, "used": {"memory_mb": 0, "vcores": 0}}],
        "queues": [{"name": "default", "state": "RUNNING", "leaf": True}],
        "scheduler": scheduler if isinstance(scheduler, str) else json.dumps(scheduler),
        **more,
    }


def capacity_scheduler(master_vcores: int) -> dict[str, Any]:
    """The part of the web service's answer that is read, as Hadoop 3.5 writes it."""
    entry = {"name": "memory-mb", "minimumAllocation": 1024, "maximumAllocation": 8192}
    step = {"memory": 0, "vCores": 0, "resourceInformations": {"resourceInformation": [entry]}}
    leaf = {
        "queueName": "default",
        "queuePath": "root.default",
        "state": "RUNNING",
        "maximumAllocation": {"memory": 8192, "vCores": 4},
        "minEffectiveCapacity": {"memory": 4096, "vCores": 4},
        "maxEffectiveCapacity": {"memory": 8192, "vCores": 8},
        "userLimitFactor": 1.5,
        "AMResourceLimit": {"memory": 1024, "vCores": master_vcores},
        "usedAMResource": {"memory": 0, "vCores": 0},
        "resourcesUsed": {"memory": 512, "vCores": 1},
        "capacities": {
            "queueCapacitiesByPartition": [{"partitionName": "", "configuredMinResource": step}]
        },
    }
    info = {"type": "capacityScheduler", "queueName": "root", "queues": {"queue": leaf}}
    return {"scheduler": {"schedulerInfo": info}}


def test_capacity_schedulers_answer_is_read() -> None:
    limits = Limits.from_event(event(capacity_scheduler(master_vcores=1)))
    assert (limits.scheduler, limits.step_mb, limits.vcores_count) == ("capacity", 1024, False)
    assert limits.queues == (
        Queue(
            "default",
            "root.default",
            largest=Resource(8192, 4),
            max_mb=8192,
            user_max_mb=6144,  # 4096 x 1.5
            user_limit_factor=1.5,
            master_max_mb=1024,
            used_mb=512,
        ),
    )
    # Only the dominant calculator gives masters more than one vcore.
    assert Limits.from_event(event(capacity_scheduler(master_vcores=4))).vcores_count


def test_fair_schedulers_answer_is_read() -> None:
    child = {"queueName": "root.a", "maxResources": {"memory": 4096, "vCores": 8}}
    root = {"queueName": "root", "childQueues": {"queue": [child]}}
    info = {"type": "fairScheduler", "rootQueue": root}
    limits = Limits.from_event(event({"scheduler": {"schedulerInfo": info}}))
    assert limits.scheduler == "fair"
    assert limits.vcores_count
    with pytest.raises(DemandRefused, match=r"the maximum of queue root\.a"):
        grant_resources(Demand(4, 1, 1024, queue="a"), limits)


def test_unknown_limits_are_a_warning_that_says_why() -> None:
    limits = Limits.from_event(event("the web service did not answer: 401"))
    grant = grant_resources(Demand(1, 1, 1024), limits)
    assert "not known (the web service did not answer: 401)" in grant.warnings[0]
    assert (
        grant_resources(Demand(1, 1, 1024, queue="made-on-demand"), limits).queue
        == "made-on-demand"
    )
