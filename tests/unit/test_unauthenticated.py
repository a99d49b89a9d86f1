"""A connection that has not authenticated holds a place for a while, and leaves in a fair order."""

from __future__ import annotations

import errno
import resource
import socket
from collections.abc import Iterator

import pytest

from harpy.gang.listening import MAX_AT_ONCE, Exhausted, listen, waiting
from harpy.gang.unauthenticated import Unauthenticated


def a_door(most: int = 3, handshake_s: float = 5.0) -> Unauthenticated[str]:
    return Unauthenticated(most, handshake_s)


def test_the_oldest_gives_way_to_one_too_many() -> None:
    door = a_door()
    assert [door.add(name, now) for now, name in enumerate("abc")] == [None] * 3
    assert door.add("d", 3) == "a"
    assert (len(door), "a" in door, "d" in door) == (3, False, True)


def test_silence_gives_way_before_those_who_greeted() -> None:
    door = a_door()
    for now, name in enumerate("abc"):
        door.add(name, now)
    door.greeted("a")
    assert [door.add(name, 4) for name in "de"] == ["b", "c"]
    assert "a" in door


def test_where_all_have_greeted_the_oldest_of_them_goes() -> None:
    door = a_door()
    for now, name in enumerate("abc"):
        door.add(name, now)
    for name in "cab":
        door.greeted(name)
    assert door.add("d", 4) == "c"  # the first that greeted


def test_time_counts_from_the_arrival_not_from_the_greeting() -> None:
    door = a_door(handshake_s=5)
    door.add("a", 0)
    door.add("b", 4)
    door.greeted("a")
    assert door.overdue(5.5) == ["a"]
    door.remove("a")
    assert door.overdue(5.5) == []


def test_whoever_left_holds_no_place_and_may_be_removed_twice() -> None:
    door = a_door()
    door.add("a", 0)
    door.greeted("a")
    for _ in range(2):
        door.remove("a")
    door.greeted("a")
    assert (len(door), door.oldest(), door.all()) == (0, None, [])


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with listen("127.0.0.1", (0, 0), 128) as opened:
        opened.setblocking(False)
        yield opened


def test_those_that_wait_are_taken_a_few_at_a_time(listener: socket.socket) -> None:
    callers = [socket.create_connection(listener.getsockname()) for _ in range(MAX_AT_ONCE + 1)]
    taken = [list(waiting(listener)) for _ in range(3)]
    assert list(map(len, taken)) == [MAX_AT_ONCE, 1, 0]
    for sock in (*callers, *taken[0], *taken[1]):
        sock.close()


def test_a_process_without_descriptors_says_so_and_goes_on_when_there_are_some(
    listener: socket.socket,
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.create_connection(listener.getsockname()) as caller:
        resource.setrlimit(resource.RLIMIT_NOFILE, (caller.fileno() + 1, hard))
        try:
            with pytest.raises(Exhausted, match="open files") as caught:
                list(waiting(listener))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert isinstance(caught.value.__cause__, OSError)
        assert caught.value.__cause__.errno == errno.EMFILE
        (sock,) = waiting(listener)
        sock.close()
