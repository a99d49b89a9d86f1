"""When a job that got only a part of its workers gives them back. Pure: the clock is passed in.

All workers of a gang must run at once. Two jobs that each hold what the other needs would wait
for ever; if one gives back what it has and asks again later, the other gets all it needs.
"""

from __future__ import annotations

import random
from collections.abc import Callable


class GiveBack:
    """Watches how many workers of one job run.

    Parameters
    ----------
    n_node : int
        Workers the job needs.
    after_s : float
        Seconds for which a part of them may run without the rest. The wait is drawn between this
        and twice as long, so that two jobs do not give back at the same moment.
    uniform : callable
        As random.uniform.
    """

    def __init__(
        self, n_node: int, after_s: float, uniform: Callable[[float, float], float] = random.uniform
    ) -> None:
        self._n_node, self._after_s, self._uniform = n_node, after_s, uniform
        self._due_at: float | None = None
        self._n_times = 0
        self._complete = False

    def due(self, n_running: int, now: float) -> bool:
        """Whether to give back now, while this many workers run. Never after all of them have run:
        then a missing one is a loss and is replaced."""
        if n_running >= self._n_node:
            self._complete = True
        if self._complete or n_running == 0:
            self._due_at = None
            return False
        if self._due_at is None:
            self._due_at = now + self._uniform(self._after_s, 2 * self._after_s)
        return now > self._due_at

    def pause_s(self) -> float:
        """Seconds to wait before asking again: drawn from a range that grows with every time."""
        self._due_at = None
        self._n_times += 1
        return self._uniform(1.0, 2.0 ** min(self._n_times, 5))
