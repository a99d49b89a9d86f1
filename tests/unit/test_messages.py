"""A message of an authenticated sender becomes an event, or one ProtocolError: nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from harpy.errors import ConfigError, ProtocolError
from harpy.gang import events
from harpy.gang.messages import event_of
from harpy.wire.auth import Identity, Role
from harpy.wire.cause import Cause

WORKER, DRIVER = Identity(Role.WORKER, 0, 3), Identity(Role.DRIVER)
JOIN = {"type": "join", "host": "n1", "address": "10.0.0.1", "port": 4000, "pid": 7}
FAILURE = {"kind": "ProgramFailed", "message": "no", "rank": 1, "host": "n1", "echo": False}


def test_who_joins_is_who_the_handshake_says() -> None:
    event = event_of({**JOIN, "rank": 9, "attempt": 9}, WORKER)
    assert event == events.Joined(events.Member(0, 3, "n1", "10.0.0.1", 4000, 7))


def test_a_failure_may_come_from_another_version_with_more_in_it() -> None:
    event = event_of(
        {"type": "report", "run": 1, "epoch": 1, "failure": {**FAILURE, "new": 1}}, WORKER
    )
    assert event == events.Reported(0, 1, 1, Cause("ProgramFailed", "no", 1, "n1"))


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"type": "run"},
        {"type": "join"},
        {**JOIN, "port": 0},
        {**JOIN, "port": 65536},
        {**JOIN, "port": "4000"},
        {**JOIN, "pid": float("inf")},
        {**JOIN, "pid": True},
        {**JOIN, "address": ["10.0.0.1"]},
        {**JOIN, "host": "n" * 5000},
        {"type": "comm", "run": -1, "epoch": 1},
        {"type": "comm", "run": 1e400, "epoch": 1},
        {"type": "comm", "run": 10**30, "epoch": 1},
        {"type": "comm", "run": np.ones(2), "epoch": 1},
        {"type": "report", "run": 1, "epoch": 1},
        {"type": "report", "run": 1, "epoch": 0, "failure": None},
        {"type": "report", "run": 1, "epoch": 1, "failure": "no"},
        {"type": "report", "run": 1, "epoch": 1, "failure": {**FAILURE, "rank": "one"}},
        {"type": "report", "run": 1, "epoch": 1, "failure": {**FAILURE, "echo": None}},
        {"type": "report", "run": 1, "epoch": 1, "failure": {**FAILURE, "message": {"a": "b"}}},
    ],
    ids=str,
)
def test_nonsense_of_a_worker_is_a_protocol_error(message: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError):
        event_of(message, WORKER)


@pytest.mark.parametrize(
    "message",
    [
        {},
        JOIN,
        {"type": "run"},
        {"type": "run", "spec": None},
        {"type": "run", "spec": {"run": float("inf"), "module": "m"}},
        {"type": "run", "spec": {"run": 1, "module": ["m"]}},
        {"type": "run", "spec": {"run": 1, "module": "m", "data": {"X": 1}}},
        {"type": "run", "spec": {"run": 1, "module": "m", "more": 1}},
        {"type": "cancel", "run": 1},
        {"type": "cancel", "run": 1, "reason": 5},
    ],
    ids=str,
)
def test_nonsense_of_a_driver_is_an_error_of_ours(message: dict[str, Any]) -> None:
    with pytest.raises((ProtocolError, ConfigError)):
        event_of(message, DRIVER)


@pytest.mark.parametrize("role", [Role.PEER, Role.HUB])
def test_other_roles_have_nothing_to_say(role: Role) -> None:
    with pytest.raises(ProtocolError, match="nothing to say"):
        event_of(JOIN, Identity(role))


def test_only_rank_0_makes_results_final() -> None:
    with pytest.raises(ProtocolError, match="unknown type 'committed'"):
        event_of({"type": "committed", "run": 1}, Identity(Role.WORKER, 1))
