"""Turns a Demand into a Grant by a cluster's static limits, or DemandRefused with numbers.
Pure functions; what is merely busy is a warning, never a refusal."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from harpy.errors import DemandRefused
from harpy.launch.base import Demand, Grant
from harpy.launch.yarn.causes import queue_stopped
from harpy.launch.yarn.job_settings import JVM_SHARE_MB, MASTER_MEMORY_MB, MASTER_VCORES
from harpy.launch.yarn.limits import Limits, Queue, Resource

# The JVM's share and a Python with NumPy: below this no worker starts.
SMALLEST_WORKER_MB = JVM_SHARE_MB + 192
DEFAULT_QUEUE = "default"
_DEFAULT_STEP_MB = 256


@dataclass(frozen=True)
class Refusal:
    """Which limit does not hold what is asked."""

    asked: str
    available: str
    limit: str

    def __str__(self) -> str:
        return f"asked {self.asked}, available {self.available}: {self.limit}"


def grant_resources(demand: Demand, limits: Limits, default_queue: str = DEFAULT_QUEUE) -> Grant:
    """Return the grant for `demand`.

    Parameters
    ----------
    demand
        Its `wishes` are lowered to what fits, with a note each; everything else is refused when it
        can never be met.
    limits
        The cluster as it is.
    default_queue
        Where the job goes when the demand names no queue.

    Raises
    ------
    DemandRefused
        Naming the numbers asked and available and the limit between them.
    """
    queue = _queue(demand.queue or default_queue, limits)
    notes: list[str] = []
    chosen = _threads(demand, limits, queue, notes)
    chosen = _memory(chosen, limits, queue, notes)
    container = Resource(chosen.n_mem, _vcores(chosen, limits, queue))
    refusal = _room(chosen.n_node, container, limits, queue)
    if refusal is not None:
        raise DemandRefused(_refused(demand, refusal))
    return Grant(
        n_node=chosen.n_node,
        n_thread=chosen.n_thread,
        n_mem=chosen.n_mem,
        queue=demand.queue,
        vcores=container.vcores,
        python_mb=chosen.n_mem - JVM_SHARE_MB,
        notes=tuple(notes),
        warnings=tuple(_warnings(chosen.n_node, container, limits, queue)),
    )


def _refused(demand: Demand, refusal: Refusal) -> str:
    # Wishes are lowered as far as possible: the given values are what does not fit.
    given = [n for n in ("n_node", "n_thread", "n_mem") if n not in demand.wishes]
    asked = ", ".join(f"{name}={getattr(demand, name)}" for name in given)
    return (
        f"the cluster can never run {asked}: {refusal}.\n"
        "  Ask for less (n_node, n_mem, n_thread), or for another queue."
    )


def _queue(name: str, limits: Limits) -> Queue:
    # "analysts" or "root.org.analysts"; a scheduler that names no queues refuses an unknown one
    # itself.
    found = [q for q in limits.queues if name in (q.name, q.path)]
    leaves = sorted(q.path for q in limits.queues if q.leaf)
    if not found:
        if limits.scheduler in ("fair", "unknown"):
            # It may make queues on demand.
            return Queue(name, name)
        raise DemandRefused(f"there is no queue {name!r}; the cluster has: {', '.join(leaves)}")
    queue = found[0]
    if not queue.leaf:
        below = [p for p in leaves if p.startswith(f"{queue.path}.")]
        raise DemandRefused(
            f"queue {queue.path!r} takes no applications, only those below it: {', '.join(below)}"
        )
    if not queue.running:
        raise queue_stopped(queue.path, "STOPPED")
    return queue


def _largest(limits: Limits, queue: Queue) -> tuple[Resource, str]:
    """The largest container there can be, and which limit makes it so."""
    own = queue.largest
    if own is not None and own.memory_mb:
        return own, f"the largest container of queue {queue.path}"
    return limits.largest, "the largest container (yarn.scheduler.maximum-allocation-*)"


def _vcores(demand: Demand, limits: Limits, queue: Queue) -> int:
    return max(1, min(demand.n_thread, _largest(limits, queue)[0].vcores))


def _threads(demand: Demand, limits: Limits, queue: Queue, notes: list[str]) -> Demand:
    largest, limit = _largest(limits, queue)
    available = largest.vcores
    if limits.vcores_count and limits.nodes:
        biggest = max(n.total.vcores for n in limits.nodes)
        if biggest < available:
            available, limit = biggest, "the vcores of the largest node"
    if demand.n_thread <= available:
        return demand
    if "n_thread" not in demand.wishes:
        asked = Refusal(f"{demand.n_thread} vcores", f"{available} vcores", limit)
        raise DemandRefused(_refused(demand, asked))
    notes.append(f"n_thread lowered from {demand.n_thread} to {available}: {limit}")
    return replace(demand, n_thread=max(1, available))


def _memory(demand: Demand, limits: Limits, queue: Queue, notes: list[str]) -> Demand:
    if demand.n_mem < SMALLEST_WORKER_MB:
        raise DemandRefused(
            f"n_mem={demand.n_mem} is too little for any worker: asked {demand.n_mem} MB, needed "
            f"{SMALLEST_WORKER_MB} MB, {JVM_SHARE_MB} of them by the task's JVM.\n"
            "  Ask for more n_mem."
        )
    vcores = _vcores(demand, limits, queue)

    def refusal(n_mem: int) -> Refusal | None:
        return _room(demand.n_node, Resource(n_mem, vcores), limits, queue)

    first = refusal(demand.n_mem)
    if first is None or "n_mem" not in demand.wishes:
        return demand
    # Fewer containers fit as they grow, so bisection finds the largest size that fits.
    step = limits.step_mb or _DEFAULT_STEP_MB
    fits, too_large = 0, -(-demand.n_mem // step)
    while too_large - fits > 1:
        middle = (fits + too_large) // 2
        fits, too_large = (middle, too_large) if refusal(middle * step) is None else (fits, middle)
    if fits * step < SMALLEST_WORKER_MB:
        raise DemandRefused(_refused(demand, refusal(SMALLEST_WORKER_MB) or first))
    binding = refusal(min(too_large * step, demand.n_mem)) or first
    notes.append(
        f"n_mem lowered from {demand.n_mem} to {fits * step} MB: {binding.asked} would not fit "
        f"({binding.available}: {binding.limit})"
    )
    return replace(demand, n_mem=fits * step)


def _room(n_node: int, container: Resource, limits: Limits, queue: Queue) -> Refusal | None:
    """The first static limit that `n_node` such containers and their master do not fit, if any."""
    largest, limit = _largest(limits, queue)
    if container.memory_mb > largest.memory_mb:
        return Refusal(f"{container.memory_mb} MB", f"{largest.memory_mb} MB", limit)
    worker = _rounded(container, limits)
    master = _rounded(Resource(MASTER_MEMORY_MB, MASTER_VCORES), limits)
    held = _workers_beside_master((n.total for n in limits.nodes), worker, master, limits)
    if held < n_node:
        total = sum(n.total.memory_mb for n in limits.nodes)
        return Refusal(
            f"{n_node} worker{'s' * (n_node != 1)} of {worker.memory_mb} MB",
            f"room for {max(held, 0)}",
            f"{len(limits.nodes)} node{'s' * (len(limits.nodes) != 1)} with {total} MB together, "
            f"{master.memory_mb} MB of it for the application master",
        )
    return _queue_room(n_node, worker, master, queue)


def _queue_room(n_node: int, worker: Resource, master: Resource, queue: Queue) -> Refusal | None:
    asked_mb = master.memory_mb + n_node * worker.memory_mb
    asked = f"{asked_mb} MB ({n_node} x {worker.memory_mb} and {master.memory_mb} for the master)"
    if queue.max_mb is not None and asked_mb > queue.max_mb:
        return Refusal(asked, f"{queue.max_mb} MB", f"the maximum of queue {queue.path}")
    # The scheduler checks before it allocates, so a user's last container may exceed the limit.
    before_last = asked_mb - worker.memory_mb
    if queue.user_max_mb is not None and before_last > queue.user_max_mb:
        return Refusal(
            asked,
            f"{queue.user_max_mb} MB",
            f"one user's part of queue {queue.path}: its capacity times its user-limit factor "
            f"{queue.user_limit_factor:g}",
        )
    return None


def _rounded(container: Resource, limits: Limits) -> Resource:
    """As the scheduler books it: memory in whole steps."""
    step = limits.step_mb
    if step is None:
        return container
    return replace(container, memory_mb=-(-container.memory_mb // step) * step)


def _workers_beside_master(
    nodes: Iterable[Resource], worker: Resource, master: Resource, limits: Limits
) -> int:
    """How many workers fit when the master is where it costs fewest of them; -1 if it fits
    nowhere."""

    def fit(node: Resource) -> int:
        by_memory = node.memory_mb // worker.memory_mb
        return min(by_memory, node.vcores // worker.vcores) if limits.vcores_count else by_memory

    held, best = 0, None
    for node in nodes:
        alone = max(fit(node), 0)
        held += alone
        left = Resource(node.memory_mb - master.memory_mb, node.vcores - master.vcores)
        if left.memory_mb >= 0 and (left.vcores >= 0 or not limits.vcores_count):
            cost = alone - max(fit(left), 0)
            best = cost if best is None else min(best, cost)
    return -1 if best is None else held - best


def _warnings(n_node: int, container: Resource, limits: Limits, queue: Queue) -> Iterable[str]:
    if limits.scheduler == "unknown":
        yield f"the limits of queue {queue.path} are not known ({limits.unknown}): not checked"
    worker = _rounded(container, limits)
    master = _rounded(Resource(MASTER_MEMORY_MB, MASTER_VCORES), limits)
    free = [
        Resource(n.total.memory_mb - n.used.memory_mb, n.total.vcores - n.used.vcores)
        for n in limits.nodes
    ]
    held = max(_workers_beside_master(free, worker, master, limits), 0)
    if held < n_node:
        yield (
            f"busy now: room for {held} of {n_node} workers of {worker.memory_mb} MB "
            f"({sum(max(f.memory_mb, 0) for f in free)} of "
            f"{sum(n.total.memory_mb for n in limits.nodes)} MB free); the job waits for the rest"
        )
    asked_mb = master.memory_mb + n_node * worker.memory_mb
    if queue.max_mb is not None and queue.used_mb + asked_mb > queue.max_mb >= asked_mb:
        yield (
            f"busy now: queue {queue.path} uses {queue.used_mb} of {queue.max_mb} MB "
            f"and {asked_mb} MB are asked"
        )
    if queue.user_max_mb is not None and asked_mb > queue.user_max_mb:
        yield (
            f"{asked_mb} MB pass one user's part of queue {queue.path} ({queue.user_max_mb} MB): "
            "the last worker starts only while nothing else of this user runs there"
        )
    masters = queue.master_used_mb
    if queue.master_max_mb is not None and 0 < masters > queue.master_max_mb - master.memory_mb:
        yield (
            f"busy now: application masters hold {masters} of the {queue.master_max_mb} MB "
            f"that queue {queue.path} gives them; the job waits for one to end"
        )
