"""Every message that is sent is read as what it was; anything else is one ProtocolError that names
it. Nothing is taken from a direction into which it does not belong."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, get_args

import numpy as np
import pytest

from harpy.errors import ProtocolError
from harpy.gang import events
from harpy.gang.messages import event_of, read_message
from harpy.wire import to_driver, to_hub, to_worker
from harpy.wire.auth import Identity, Role
from harpy.wire.failure import Failure
from harpy.wire.frames import FrameReader, FrameWriter
from harpy.wire.member import Member
from harpy.wire.message import Message
from harpy.wire.record import Record
from tests.support.wire_examples import (
    ANSWERS,
    FAILURE,
    FROM_DRIVER,
    FROM_WORKER,
    ODD,
    RECORDS,
    TO_DRIVER,
    TO_WORKER,
    same,
)

WORKER, DRIVER = Identity(Role.WORKER, 0, 3), Identity(Role.DRIVER)
KEY = b"k" * 32
Reader = Callable[[Any], Any]
# Direction: its reader, its types, an example of each.
DIRECTIONS: dict[str, tuple[Reader, Any, list[Any]]] = {
    "worker to hub": (lambda v: read_message(v, WORKER), to_hub.FromWorker, FROM_WORKER),
    "driver to hub": (lambda v: read_message(v, DRIVER), to_hub.FromDriver, FROM_DRIVER),
    "hub to worker": (to_worker.read, to_worker.ToWorker, TO_WORKER),
    "answer to a join": (to_worker.read_answer, to_worker.Answer, ANSWERS),
    "hub to driver": (to_driver.read, to_driver.ToDriver, TO_DRIVER),
}
EVERY = [
    pytest.param(reader, message, id=f"{direction}: {message.TYPE}")
    for direction, (reader, _, examples) in DIRECTIONS.items()
    for message in examples
]


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_every_message_has_an_example(direction: str) -> None:
    _, union, examples = DIRECTIONS[direction]
    assert set(get_args(union)) == {type(example) for example in examples}
    types = [kind.TYPE for kind in get_args(union)]
    assert len(set(types)) == len(types)


@pytest.mark.parametrize(("read", "message"), EVERY)
def test_a_message_comes_through_a_frame_as_it_was(read: Reader, message: Message) -> None:
    (value,) = FrameReader(KEY).feed(FrameWriter(KEY).encode(message.to_wire()))
    back = read(value)
    assert type(back) is type(message)
    assert same(back.to_wire(), message.to_wire())


@pytest.mark.parametrize(("read", "message"), EVERY)
def test_a_message_that_lacks_a_field_names_it(read: Reader, message: Message) -> None:
    value = message.to_wire()
    for field in value.keys() - {"type"}:
        words = rf"'{message.TYPE}': {field} must be .*, got nothing"
        with pytest.raises(ProtocolError, match=words):
            read({name: item for name, item in value.items() if name != field})


@pytest.mark.parametrize(("read", "message"), EVERY)
def test_a_message_with_one_field_more_names_it(read: Reader, message: Message) -> None:
    with pytest.raises(ProtocolError, match=rf"'{message.TYPE}': fields must be .*also 'more'"):
        read({**message.to_wire(), "more": 1})


@pytest.mark.parametrize(("read", "message"), EVERY)
def test_an_odd_value_in_a_field_is_taken_as_it_is_or_refused_by_name(
    read: Reader, message: Message
) -> None:
    value = message.to_wire()
    for field in value.keys() - {"type"}:
        refused = 0
        for odd in ODD:
            try:
                back = read({**value, field: odd})
            except ProtocolError as exc:
                refused += 1
                named = rf"malformed message '{message.TYPE}': {field}(\.[\w.]+)? must be .*, got "
                assert re.search(named, str(exc), re.DOTALL), exc
                assert len(str(exc)) < 1000
            else:
                assert same(back.to_wire()[field], odd)
        assert refused > len(ODD) / 3, field


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_a_record_is_read_as_it_was_written_and_nothing_else_is(record: Record) -> None:
    value = record.to_wire()
    assert same(type(record).from_wire(value).to_wire(), value)
    for field in value:
        for odd in ODD:
            try:
                back = type(record).from_wire({**value, field: odd})
            except ProtocolError as exc:
                assert field in str(exc) or "consistent" in str(exc)
            else:
                assert same(back.to_wire()[field], odd) or field == "deadlines"
    with pytest.raises(ProtocolError, match="also 'more'"):
        type(record).from_wire({**value, "more": 1})
    for odd in ODD:
        with pytest.raises(ProtocolError):
            type(record).from_wire(odd)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_message_of_another_direction_is_of_unknown_type(direction: str) -> None:
    reader, union, _ = DIRECTIONS[direction]
    types = {kind.TYPE for kind in get_args(union)}
    for other, (_, _, examples) in DIRECTIONS.items():
        for message in examples:
            if other != direction and message.TYPE not in types:
                with pytest.raises(ProtocolError, match=rf"unknown type '{message.TYPE}'; expec"):
                    reader(message.to_wire())
    for odd in (*ODD, {"type": None}, {"type": ["run"]}, {"type": {}}):
        with pytest.raises(ProtocolError):
            reader(odd)


def test_an_integer_of_thousands_of_digits_can_be_named() -> None:
    with pytest.raises(ProtocolError, match=r"run must be a whole number from 1 .*, got a int"):
        to_worker.read({"type": "commit", "run": 10**5000, "epoch": 1})


def test_what_is_wrong_deep_inside_is_named_by_its_path() -> None:
    member = {"rank": 0, "attempt": 0, "host": "n", "address": "a", "port": 1, "pid": 1}
    peers = {"type": "peers", "run": 1, "epoch": 1, "members": [member, {**member, "port": 0}]}
    words = "the hub sent a malformed message 'peers': members.1.port must be a whole number from "
    with pytest.raises(ProtocolError, match=f"{words}1 to 65535, got 0"):
        to_worker.read(peers)
    report = {"type": "report", "run": 1, "epoch": 1, "failure": {**FAILURE.to_wire(), "echo": 1}}
    with pytest.raises(ProtocolError, match=r"failure\.echo must be true or false, got 1"):
        read_message(report, WORKER)


# -- what the hub makes of them ----------------------------------------------------------------


def event(message: dict[str, Any], sender: Identity) -> events.Event | None:
    return event_of(read_message(message, sender), sender)


def test_who_joins_is_who_the_handshake_says() -> None:
    join = to_hub.Join("n1", "10.0.0.1", 4000, 7)
    assert event_of(join, WORKER) == events.Joined(Member(0, 3, "n1", "10.0.0.1", 4000, 7))
    with pytest.raises(ProtocolError, match="also 'rank'"):
        event({**join.to_wire(), "rank": 9}, WORKER)


def test_what_workers_say_becomes_events() -> None:
    boom = Failure("ProgramFailed", "no", 1, "n1")
    assert event_of(to_hub.AskComm(1, 2), WORKER) == events.CommAsked(0, 1, 2)
    assert event_of(to_hub.Reported(1, 2, boom), WORKER) == events.Reported(0, 1, 2, boom)
    assert event_of(to_hub.Committed(1, 2, None), WORKER) == events.Committed(1, 2, None)
    for passed_on in (to_hub.Progress(1, 0.5, {}), to_hub.Pace(1, "n1", 0.5)):
        assert event_of(passed_on, WORKER) is None
    assert event_of(to_hub.Output(1, "x", np.zeros(1)), WORKER) is None


@pytest.mark.parametrize("message", FROM_DRIVER, ids=lambda message: message.TYPE)
def test_whatever_the_driver_says_becomes_an_event(message: to_hub.FromDriver) -> None:
    assert event_of(message, DRIVER) is not None


@pytest.mark.parametrize("role", [Role.PEER, Role.HUB, Role.PULSE])
def test_other_roles_have_nothing_to_say(role: Role) -> None:
    with pytest.raises(ProtocolError, match="nothing to say"):
        read_message(to_hub.Attach().to_wire(), Identity(role))


def test_only_rank_0_makes_results_final() -> None:
    with pytest.raises(ProtocolError, match="a message of rank 0's: 'committed'"):
        event_of(to_hub.Committed(1, 1, None), Identity(Role.WORKER, 1))
