"""Interleaved timing: what disturbs the machine for a while disturbs all that is compared."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from peers.libraries import SitsOut

# A call that took so many times as long as the fastest is not the best of any number of rounds.
HOPELESS = 3.0
# Short calls are repeated for so long, so that their best does not hang on one moment, but not in
# more than so many times the rounds asked for.
WATCH_S = 0.5
MORE_ROUNDS = 5
# Other libraries' idle threads spin for up to 0.2 s: short calls begin when they are asleep, and
# after so long of such calls that are not timed.
SETTLE_S = 0.3
WARM_S = 0.02
# No further round is begun after so long: calls of minutes have averaged over what disturbs.
PATIENCE_S = 180.0


@dataclass
class Timings:
    """Wall-clock seconds and last result of every call by name; the reasons of absent ones."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    results: dict[str, Any] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)

    def best(self) -> dict[str, float]:
        return {name: min(seconds) for name, seconds in self.seconds.items()}


# It is given the timings so far: it may use results of those before it.
Call = Callable[[Timings], Any]


def interleave(calls: Mapping[str, Call], repeat: int, always: str) -> Timings:
    """Time all calls in turn, `repeat` rounds; hopeless ones sit out after the first.

    The call named `always` is in every round.
    """
    timings = Timings()
    started = time.perf_counter()
    run_round(calls, timings, list(calls))
    if timings.seconds and max(timings.best().values()) < WATCH_S:
        run_round(calls, timings, list(timings.seconds))  # the first one started thread pools
    best = timings.best()
    if not best:
        return timings
    fastest = min(best.values())
    worth = max(HOPELESS * fastest, WATCH_S)
    chosen = [name for name in best if name == always or best[name] <= worth]
    rounds = max(repeat, min(MORE_ROUNDS * repeat, round(WATCH_S / fastest)))
    for number in range(len(timings.seconds[chosen[0]]), rounds):
        if time.perf_counter() - started > PATIENCE_S:
            break
        shift = number % len(chosen)  # nobody always comes after the same other
        run_round(calls, timings, chosen[shift:] + chosen[:shift])
    return timings


def run_round(calls: Mapping[str, Call], timings: Timings, names: list[str]) -> None:
    for name in names:
        if timings.seconds.get(name, [WATCH_S])[0] < WATCH_S:
            time.sleep(SETTLE_S)
            warm = time.perf_counter() + WARM_S
            while time.perf_counter() < warm:
                calls[name](timings)
        started = time.perf_counter()
        try:
            result = calls[name](timings)
        except SitsOut as reason:
            timings.absent[name] = str(reason)
            continue
        timings.seconds.setdefault(name, []).append(time.perf_counter() - started)
        timings.results[name] = result
