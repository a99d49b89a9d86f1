"""What rank 0 does besides a worker's part: it hosts the hub until a higher attempt replaces it.

Owns the start of the hub and the thread that checks for a successor; the hub's work is hub.py's.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from harpy.errors import StorageError
from harpy.gang.gang import EPOCHS_PER_HUB, Gang
from harpy.gang.hub import Hub
from harpy.wire.exit_codes import SUPERSEDED

if TYPE_CHECKING:
    from harpy.kernels.liveness import Pulse
    from harpy.storage import JobDirectory
    from harpy.wire.hello import Hello
    from harpy.wire.job_spec import JobSpec

SUCCESSOR_S = 3.0  # between two checks for a higher attempt of rank 0
WAITING_SHARE = 0.25  # of HARPY_RENDEZVOUS_S: how often rank 0 publishes that it waits for others


def host_hub(
    hello: Hello,
    job: JobSpec,
    directory: JobDirectory,
    pulse: Pulse,
    on_crash: Callable[[BaseException], None],
) -> Hub:
    """Start the hub and publish its address.

    Parameters
    ----------
    hello : Hello
        Of rank 0.
    job : JobSpec
    directory : JobDirectory
    pulse : Pulse
        This process's heartbeats.
    on_crash : callable
        Called if the hub's thread dies of a bug; must end the process.
    """
    hub = Hub(
        Gang(job, time.monotonic(), first_epoch=hello.attempt * EPOCHS_PER_HUB + 1),
        hello.secret,
        job.job_id,
        hello.attempt,
        hello.bind,
        hello.port_range,
        job.deadlines,
        pulse,
        on_end=directory.publish_end,
        on_crash=on_crash,
    )
    hub.start()
    directory.publish_rank0(hello.attempt, hub.address, hub.port)
    every_s = WAITING_SHARE * job.deadlines.rendezvous_s
    threading.Thread(
        target=_watch_for_successor,
        args=(directory, hub, hello.attempt, every_s),
        name="harpy-fence",
        daemon=True,
    ).start()
    return hub


def _watch_for_successor(
    directory: JobDirectory, hub: Hub, attempt: int, waiting_every_s: float
) -> None:
    """End this rank 0 once a higher attempt has replaced it.

    Its node manager may be gone, and then nothing else on this host can end it. While rank 0 waits
    for other ranks it publishes that, for those that cannot reach it.
    """
    said_at = time.monotonic()
    while True:
        time.sleep(SUCCESSOR_S)
        try:
            attempts = [known.attempt for known in directory.rank0_addresses()]
            if max(attempts, default=0) > attempt:
                os._exit(SUPERSEDED)
            if min(hub.waited_s(), time.monotonic() - said_at) > waiting_every_s:
                directory.publish_waiting()
                said_at = time.monotonic()
        except StorageError as exc:  # tried again: storage has kept its own deadline
            print(f"harpy worker: looking for a successor: {exc}", file=sys.stderr)
