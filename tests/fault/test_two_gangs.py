"""Two gangs that each hold what the other waits for: one gives back, and both finish."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from harpy import Session
from harpy.cluster.spec import Shape
from tests.support.cluster.running import RunningCluster, running_cluster
from tests.support.cluster.two_queues import OTHER_QUEUE, TWO_QUEUES
from tests.support.runs.failing import program
from tests.support.shell import eventually, user_shell

pytestmark = [pytest.mark.slow, pytest.mark.timeout(500)]
# Of 2,048 MB each: the cluster has room for 5, beside three application masters.
N_NODE = 4
SOON_S, BOTH_S = 60.0, 400.0


@pytest.fixture
def halved_cluster() -> Iterator[RunningCluster]:
    with running_cluster(Shape(memory_mb=12_288, settings=TWO_QUEUES)) as started:
        yield started


class Gang:
    """A run that needs N_NODE workers, in a thread of its own."""

    def __init__(self, queue: str) -> None:
        self.result: Any = None
        self._queue = queue
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            with session(N_NODE, self._queue) as opened:
                self.result = opened.run(program("well"), timeout_s=BOTH_S).value["total"]
        except BaseException as exc:  # told to the test's thread
            self.result = exc

    def end(self) -> Any:
        self._thread.join(BOTH_S)
        return self.result


def session(n_node: int, queue: str) -> Session:
    given = {"n_thread": 1, "n_mem": 2048, "launcher": "yarn", "progress": True}
    return Session(n_node=n_node, queue=queue, single_run=n_node == N_NODE, **given)


def test_both_finish(
    halved_cluster: RunningCluster,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    said = ""

    def told(words: str, times: int = 1) -> bool:
        nonlocal said
        said += capfd.readouterr().err
        return said.count(words) >= times

    with user_shell("yarn", halved_cluster) as shell:
        for name, value in {**shell.env, "HARPY_GIVE_BACK_S": "8"}.items():
            monkeypatch.setenv(name, value)
        with session(3, "default") as first:
            first.run(program("well"))
            gangs = [Gang("default")]
            eventually(lambda: told("2 of 4 workers running"), SOON_S, said)
            gangs.append(Gang(OTHER_QUEUE))
            eventually(lambda: told("0 of 4 workers running", 2), SOON_S, said)
        assert [gang.end() for gang in gangs] == [10.0, 10.0]
        assert told("killing this application and starting another"), said
