"""When a part of the workers is given back."""

from __future__ import annotations

from harpy.session.allocation import GiveBack


def highest(low: float, high: float) -> float:
    return high


def lowest(low: float, high: float) -> float:
    return low


def test_a_part_is_given_back_after_a_while():
    watch = GiveBack(4, 10.0, highest)
    assert not watch.due(2, 100.0)
    assert not watch.due(3, 119.9)
    assert watch.due(3, 120.1)


def test_nothing_is_given_back_while_nothing_is_held():
    watch = GiveBack(4, 10.0, lowest)
    assert not any(watch.due(0, now) for now in (0.0, 100.0, 200.0))
    assert not watch.due(1, 200.0)
    assert watch.due(1, 210.1)


def test_a_gang_that_was_complete_is_never_given_back():
    watch = GiveBack(2, 10.0, lowest)
    assert not watch.due(2, 0.0)
    assert not any(watch.due(1, now) for now in (1.0, 100.0))


def test_after_giving_back_the_time_begins_anew_and_the_pauses_grow():
    watch = GiveBack(2, 10.0, highest)
    watch.due(1, 0.0)
    assert watch.due(1, 21.0)
    pauses = [watch.pause_s() for _ in range(7)]
    assert pauses == [2.0, 4.0, 8.0, 16.0, 32.0, 32.0, 32.0]
    assert not watch.due(1, 22.0)
