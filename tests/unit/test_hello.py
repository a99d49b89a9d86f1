"""The hello and a worker's last line, which travel between Python and Java: one record each."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from harpy.errors import ProtocolError
from harpy.wire import exit_codes, versions
from harpy.wire.failure import MAX_LINE, MAX_MESSAGE, Failure
from harpy.wire.hello import Hello
from tests.support.wire_examples import FAILURE, HELLO, ODD

JAVA = Path(__file__).parents[2] / "harpy" / "launch" / "yarn" / "java" / "org" / "harpy" / "launch"


def java(name: str) -> str:
    return (JAVA / f"{name}.java").read_text()


def line(**changes: Any) -> bytes:
    said = json.loads(HELLO.to_line()) | changes
    return json.dumps({key: item for key, item in said.items() if item != "gone"}).encode()


def test_a_hello_is_read_as_it_was_said() -> None:
    assert HELLO.to_line().endswith(b"\n")
    assert Hello.from_line(HELLO.to_line()) == HELLO


def test_java_says_the_same_fields_in_the_same_protocol() -> None:
    body = re.search(r"String hello\(.*?\n  \}", java("WorkerCommand"), re.DOTALL)
    assert body is not None
    keys = re.findall(r'\.put\("(\w+)"', body[0])
    assert keys[0] == "protocol"
    assert f'.put("protocol", {versions.WORKER_LINES})' in body[0]
    # The job's own settings are in the configuration that the task's JVM writes for its worker.
    assert sorted([*keys[1:], "hadoop_conf"]) == sorted(name for name, _ in Hello.kinds())


def test_java_knows_the_first_line_and_the_exit_codes_of_a_worker() -> None:
    assert f'line.startsWith("hello {versions.WORKER_LINES} ")' in java("WorkerProcess")
    known = re.findall(r"int EXIT_(\w+) = (\d+);", java("WorkerRecordReader"))
    assert known
    for name, code in known:
        assert getattr(exit_codes, name) == int(code)


def test_what_java_says_where_nobody_counts_memory() -> None:
    assert Hello.from_line(line(memory_mb=0)).memory_mb is None
    assert Hello.from_line(line(memory_mb=None)).memory_mb is None
    fewer = Hello.from_line(line(memory_mb="gone", port_range="gone", hadoop_conf_dir="gone"))
    assert (fewer.memory_mb, fewer.port_range, fewer.hadoop_conf_dir) == (None, (0, 0), None)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"protocol": 2}, "protocol 2, this worker speaks 1"),
        ({"protocol": "gone"}, "protocol None"),
        ({"rank": "1"}, "rank must be a whole number from 0 to .*, got '1'"),
        ({"rank": 2}, "rank 2 of 2 workers"),
        ({"n_thread": 0}, "n_thread must be"),
        ({"port_range": [1]}, r"port_range must be two port numbers, got \[1\]"),
        ({"port_range": [1, 65536]}, "port_range must be two port numbers"),
        ({"secret": "5ec2e7"}, "secret must be at least 64 hexadecimal digits, got 6"),
        ({"secret": "gone"}, "secret must be .*, got nothing"),
        ({"secret": "5ec2e7" * 10 + "x"}, "secret must be .*, got something else"),
        ({"more": 1}, "fields must be rank, .*, got also 'more'"),
    ],
    ids=str,
)
def test_a_malformed_hello_is_refused_by_field_and_never_shows_the_secret(
    change: dict[str, Any], words: str
) -> None:
    with pytest.raises(ProtocolError, match=f"malformed hello: {words}") as caught:
        Hello.from_line(line(**change))
    assert "5ec2e7" not in str(caught.value)
    assert caught.value.__context__ is None or caught.value.__suppress_context__


def test_no_odd_value_in_a_hello_shows_the_secret() -> None:
    for field in json.loads(HELLO.to_line()):
        for odd in ODD[:-1]:
            try:
                Hello.from_line(line(**{field: odd}))
            except ProtocolError as exc:
                assert "5ec2e7" not in str(exc)


# -- the last line -----------------------------------------------------------------------------

UNSAID = Failure("WorkerLost", "", 3, "n3", "the end of its log")


def test_a_failure_comes_through_a_line_as_it_was_but_for_its_rank() -> None:
    back = Failure.from_line(FAILURE.to_line(), UNSAID)
    assert back == Failure(FAILURE.kind, FAILURE.message, 3, "n1", FAILURE.detail, echo=True)


@pytest.mark.parametrize(
    ("said", "understood"),
    [
        ("no JSON at all", Failure("WorkerLost", "no JSON at all", 3, "n3", UNSAID.detail)),
        ("[" * 100_000, Failure("WorkerLost", "[" * MAX_MESSAGE, 3, "n3", UNSAID.detail)),
        ("[1]", Failure("WorkerLost", "[1]", 3, "n3", UNSAID.detail)),
        ("{}", UNSAID),
        (
            '{"kind": "DiskFull", "message": "m", "new": 1}',
            Failure("DiskFull", "m", 3, "n3", UNSAID.detail),
        ),
        (
            '{"kind": 5, "message": "m", "echo": "yes", "detail": "", "host": ["n"]}',
            Failure("WorkerLost", "m", 3, "n3", UNSAID.detail),
        ),
    ],
    ids=["text", "deep", "list", "nothing", "another version", "odd"],
)
def test_last_words_are_never_refused(said: str, understood: Failure) -> None:
    assert Failure.from_line(said, UNSAID) == understood


def test_an_echo_may_deny_that_it_is_one() -> None:
    echo = Failure("WorkerLost", "", 3, "n3", echo=True)
    assert Failure.from_line('{"message": "m", "echo": false}', echo).echo is False
    assert Failure.from_line('{"message": "m"}', echo).echo is True


@pytest.mark.parametrize("size", [0, 10_000, 1_000_000])
def test_a_line_fits_into_what_hadoop_carries(size: int) -> None:
    long = Failure("ProgramFailed", "é" * size, 1, "n1", "\n" * size)
    said = long.to_line()
    assert len(json.dumps(said)) <= MAX_LINE
    assert "\n" not in said
    assert Failure.from_line(said, UNSAID).kind == "ProgramFailed"
