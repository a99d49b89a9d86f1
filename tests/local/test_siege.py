"""A thousand malformed connections to all doors of a gang that iterates change nothing about it."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from harpy.gang.door import MAX_UNAUTHENTICATED
from harpy.session.control import RunDone
from tests.support.besieger import Besieger
from tests.support.gangs.local import DEADLINES, SOON_S, LocalGang, local_gang

N_CONNECTIONS = 1_000
HANDSHAKE_S = 2.0
# Iterates until rank 0 is told that it is over, then a fixed number of times more.
PROGRAM = """
def main(ctx):
    over, rng = os.path.exists, np.random.default_rng(ctx.rank)
    rows, total, n = rng.normal(size=(100, 50)), np.zeros(50), 0
    while n < 50:
        total += ctx.comm.allreduce(rows.sum(axis=0) * 2.0**-n)
        if n or ctx.comm.allreduce([int(over(ctx.params["over"]))])[0]:
            n += 1
        else:
            total[:] = 0
    return total
"""
MB = 1 << 20


class Siege:
    """Connections to every door of the gang's workers while a run goes on."""

    def __init__(self, gang: LocalGang) -> None:
        self._processes = sorted(gang.processes(), key=lambda process: process.pid)
        self.doors = [
            (c.laddr.ip, c.laddr.port)
            for p in self._processes
            for c in p.net_connections("tcp")
            if c.status == psutil.CONN_LISTEN
        ]
        self.descriptors_before = self.descriptors()
        self.most_descriptors = 0
        self.memory: list[int] = []

    def descriptors(self) -> list[int]:
        return [process.num_fds() for process in self._processes]

    def lay(self) -> None:
        besieger = Besieger(self.doors)
        for n in range(N_CONNECTIONS):
            besieger.connect()
            time.sleep(0.001)
            if n % 100 == 99:
                grown = zip(self.descriptors(), self.descriptors_before, strict=True)
                self.most_descriptors = max(self.most_descriptors, *(a - b for a, b in grown))
                self.memory.append(sum(p.memory_info().rss for p in self._processes))
        besieger.leave()

    def descriptors_are_back(self) -> bool:
        deadline = time.monotonic() + HANDSHAKE_S + SOON_S
        while self.descriptors() != self.descriptors_before and time.monotonic() < deadline:
            time.sleep(0.05)
        return self.descriptors() == self.descriptors_before


@pytest.mark.timeout(120)
def test_a_besieged_gang_holds_no_more_and_computes_the_same(tmp_path: Path) -> None:
    deadlines = replace(DEADLINES, handshake_s=HANDSHAKE_S)
    over = tmp_path / "over"
    with local_gang(tmp_path, 3, deadlines=deadlines) as gang:
        gang.submit()
        gang.connect()
        over.touch()
        quiet = value(gang, over)
        over.unlink()
        siege = Siege(gang)
        assert len(siege.doors) == 4  # one of each rank, and the hub's

        def lay_and_end() -> None:
            try:
                siege.lay()
            finally:
                over.touch()

        thread = threading.Thread(target=lay_and_end, daemon=True)
        thread.start()
        besieged = value(gang, over)
        thread.join(SOON_S)
        again = value(gang, over)
        assert quiet == besieged == again
        assert len(siege.memory) == N_CONNECTIONS // 100
        assert 0 < siege.most_descriptors <= MAX_UNAUTHENTICATED + 8
        assert siege.descriptors_are_back()
        assert siege.memory[-1] - siege.memory[1] < 8 * MB
        gang.close_session()
        assert gang.failures() == {}


def value(gang: LocalGang, over: Path) -> bytes:
    """The bits of a run's result."""
    done = gang.outcome(PROGRAM, params={"over": str(over)})
    assert isinstance(done, RunDone), done
    return done.read_results(gang.directory.run(gang.n_runs))[0].tobytes()
