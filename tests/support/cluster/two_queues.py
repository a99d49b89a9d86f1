"""Two queues with half of a cluster each, which may borrow from each other: the scheduler serves
the one that has less."""

from __future__ import annotations

OTHER_QUEUE = "other"  # beside "default"
_ROOT = "yarn.scheduler.capacity.root"
_BOTH = ("default", OTHER_QUEUE)
TWO_QUEUES = {
    f"{_ROOT}.queues": ",".join(_BOTH),
    **{f"{_ROOT}.{name}.capacity": "50" for name in _BOTH},
    **{f"{_ROOT}.{name}.maximum-capacity": "100" for name in _BOTH},
    **{f"{_ROOT}.{name}.user-limit-factor": "10" for name in _BOTH},
}
