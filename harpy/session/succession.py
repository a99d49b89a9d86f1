"""Whether the application that carries a gang can go on by itself, or must be replaced.

Pure: the clock is passed in. When a part of a cluster is given back is allocation.py's; what
follows from the verdict is follower.py's.
"""

from __future__ import annotations

from dataclasses import dataclass

from harpy.config import Deadlines
from harpy.launch.base import LaunchStatus
from harpy.session.allocation import GiveBack


@dataclass(frozen=True)
class Stuck:
    """An application that cannot go on, and why, in words for people."""

    why: str
    gives_back: bool = False  # its resources are left to other jobs for a while


class Succession:
    """What is known of a gang's losses, from its first run to its last.

    Parameters
    ----------
    n_node : int
        Workers of the gang.
    deadlines : Deadlines
        `master_s` and `give_back_s` count here.
    give_back : GiveBack, optional
        When a part of the workers is given back; None: after `give_back_s`.

    Attributes
    ----------
    waits_for_replacement : bool
        Whether a worker is lost and its replacement has not joined yet.
    """

    def __init__(
        self, n_node: int, deadlines: Deadlines, give_back: GiveBack | None = None
    ) -> None:
        self._n_node, self._master_s = n_node, deadlines.master_s
        self._give_back = give_back or GiveBack(n_node, deadlines.give_back_s)
        self.waits_for_replacement = False

    def stuck(self, status: LaunchStatus, now: float) -> Stuck | None:
        """Why another application must replace this one; None while it can go on."""
        if status.state.over:
            return None
        silent_s = status.master_silent_s
        if self.waits_for_replacement and silent_s > self._master_s:
            # Its host is gone, and with it the master that could replace workers. YARN would notice
            # after ten minutes by default.
            return Stuck(
                f"the application master has not answered for {silent_s:.0f} s (HARPY_MASTER_S)"
            )
        if self._give_back.due(status.workers_running, now):
            return Stuck(
                f"{status.workers_running} of {self._n_node} workers run while the others "
                "wait for room that another job may hold (HARPY_GIVE_BACK_S)",
                gives_back=True,
            )
        return None

    def pause_s(self, stuck: Stuck) -> float:
        """Seconds to wait between the end of a stuck application and its successor."""
        return self._give_back.pause_s() if stuck.gives_back else 0.0
