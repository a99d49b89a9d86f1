"""The child protocol line by line, fencing of attempts, and strangers at the hub's door."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from harpy.config import Deadlines
from harpy.errors import AuthenticationError
from harpy.session.control import ControlChannel, RunDone
from harpy.wire.auth import HELLO, Identity, Initiator, Role
from harpy.wire.channel import Channel, connect_socket
from harpy.wire.hello import Hello
from tests.support.gangs.local import DEADLINES, SOON_S, LocalGang, local_gang
from tests.support.unanswered import unanswered_address


class Child:
    """A worker process spoken to as a launcher does."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "harpy.gang.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            process_group=0,
        )
        self.lines: list[str] = []
        self._unread = b""

    def hello(self, gang: LocalGang, rank: int = 0, **changes: object) -> None:
        hello = Hello(
            rank=rank,
            n_node=gang.n_node,
            attempt=0,
            n_thread=1,
            job_url=gang.directory.url,
            secret=gang.secret,
            bind="127.0.0.1",
        )
        self.write(replace(hello, **changes).to_line())

    def write(self, data: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def read_until(self, start: str) -> str:
        """The next line that begins so; all lines are kept in `lines`."""
        assert self.process.stdout is not None
        deadline = time.monotonic() + SOON_S
        while time.monotonic() < deadline:
            line, separator, rest = self._unread.partition(b"\n")
            if separator:
                self._unread = rest
                self.lines.append(line.decode())
                if self.lines[-1].startswith(start):
                    return self.lines[-1]
                continue
            if not select.select([self.process.stdout], [], [], 0.1)[0]:
                continue
            data = os.read(self.process.stdout.fileno(), 65536)
            if not data:
                break
            self._unread += data
        raise AssertionError(f"no line {start!r} in {self.lines}")

    def exit_code(self) -> int:
        return self.process.wait(SOON_S)

    def stderr(self) -> str:
        assert self.process.stderr is not None
        return self.process.stderr.read().decode()

    def end(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(SOON_S)
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert pipe is not None
            pipe.close()


@pytest.fixture
def children() -> Iterator[list[Child]]:
    started: list[Child] = []
    yield started
    for child in started:
        child.end()


def start(children: list[Child], *args: object, **changes: object) -> Child:
    children.append(Child())
    if args:
        children[-1].hello(*args, **changes)  # type: ignore[arg-type]
    return children[-1]


def test_a_good_life_line_by_line(tmp_path, children):
    gang = LocalGang(tmp_path, 1)
    gang.write_job(
        gang.program("def main(ctx):\n    ctx.progress(0.25, iteration=7)\n    ctx.progress(1)")
    )
    child = start(children, gang)
    assert child.read_until("hello") == f"hello 1 {child.process.pid}"
    assert child.lines[0].startswith("hello")
    child.read_until("bye")
    assert child.exit_code() == 0
    assert "progress 0.2500" in child.lines
    assert "status iteration=7" in child.lines
    assert "progress 1.0000" in child.lines
    assert child.lines[-1] == "bye"
    verbs = {line.split(" ")[0] for line in child.lines}
    assert verbs <= {"hello", "heartbeat", "progress", "status", "bye"}


def test_heartbeats_come_while_a_program_works(tmp_path, children):
    gang = LocalGang(tmp_path, 1)
    gang.write_job(gang.program("def main(ctx): time.sleep(1000)"))
    child = start(children, gang)
    child.read_until("status run 1")
    child.read_until("heartbeat")
    child.read_until("heartbeat")


def test_a_failed_life_says_its_error_once_and_exits_1(tmp_path, children):
    gang = LocalGang(tmp_path, 1)
    gang.write_job(gang.program("def main(ctx): raise ValueError('boom\\nand more')"))
    child = start(children, gang)
    error = json.loads(child.read_until("error ").removeprefix("error "))
    assert child.exit_code() == 1
    assert (error["kind"], error["message"]) == ("ProgramFailed", "ValueError: boom\nand more")
    assert (error["rank"], error["echo"]) == (0, False)
    assert "line 3, in main" in error["detail"]
    assert error["host"] == socket.gethostname()
    assert "bye" not in child.lines


@pytest.mark.parametrize("when", ["before the hello", "while a program works"])
def test_the_end_of_stdin_is_the_end_of_the_worker_and_its_children(tmp_path, children, when):
    gang = LocalGang(tmp_path, 1)
    gang.write_job(gang.program("def main(ctx):\n    os.fork()\n    time.sleep(1000)"))
    child = start(children)
    child.read_until("hello")
    if when != "before the hello":
        child.hello(gang)
        child.read_until("status run 1")
        time.sleep(0.3)
    assert child.process.stdin is not None
    child.process.stdin.close()
    started = time.monotonic()
    assert child.exit_code() != 0
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    "line",
    [
        b"{}\n",
        b"not json\n",
        b'{"protocol": 2}\n',
        b"x" * 100_000 + b"\n",
        b'{"protocol": 1, "rank": 5, "n_node": 2, "attempt": 0, "n_thread": 1, "job_url": "x", '
        b'"secret": "5ec2e7", "bind": "127.0.0.1"}\n',
    ],
    ids=["empty", "text", "version", "long", "nonsense"],
)
def test_a_malformed_hello_ends_the_worker_without_showing_it(children, line):
    child = start(children)
    child.read_until("hello")
    child.write(line)
    assert child.exit_code() == 1
    stderr = child.stderr()
    assert "hello" in stderr
    assert "5ec2e7" not in stderr
    assert "Traceback" not in stderr


def test_a_job_of_another_format_is_refused(tmp_path, children):
    gang = LocalGang(tmp_path, 1)
    gang.write_job()
    path = gang.path / "job.json"
    path.write_text(path.read_text().replace('"version": 1', '"version": 99'))
    child = start(children, gang)
    error = json.loads(child.read_until("error ").removeprefix("error "))
    assert "99" in error["message"]
    assert child.exit_code() == 1


def test_an_address_that_is_not_ours_is_named(tmp_path, children):
    gang = LocalGang(tmp_path, 1)
    gang.write_job()
    child = start(children, gang, bind="192.0.2.1")
    error = json.loads(child.read_until("error ").removeprefix("error "))
    assert error["kind"] == "ConfigError"
    assert "cannot listen on 192.0.2.1" in error["message"]


def test_ports_come_from_the_range_and_a_full_range_is_named(tmp_path, children):
    gang = LocalGang(tmp_path, 1)
    gang.write_job()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        child = start(children, gang, port_range=(port, port))
        error = json.loads(child.read_until("error ").removeprefix("error "))
    assert error["kind"] == "GangError"
    assert f"no free port on 127.0.0.1 in {port} to {port}" in error["message"]


def test_a_lower_attempt_that_comes_late_exits_76(tmp_path, children):
    gang = LocalGang(tmp_path, 3)
    gang.write_job(gang.program("def main(ctx): ctx.comm.barrier()"))
    start(children, gang)
    higher = start(children, gang, 1, attempt=1)
    higher.read_until("status run 1")
    lower = start(children, gang, 1, attempt=0)
    assert lower.exit_code() == 76


def test_a_live_lower_attempt_is_superseded_and_exits_76(tmp_path, children):
    gang = LocalGang(tmp_path, 3)
    gang.write_job(gang.program("def main(ctx): ctx.comm.barrier()"))
    start(children, gang)
    lower = start(children, gang, 1, attempt=0)
    lower.read_until("status run 1")
    start(children, gang, 1, attempt=1)
    assert lower.exit_code() == 76


def test_a_later_attempt_that_finds_success_exits_0_without_company(tmp_path, children):
    gang = LocalGang(tmp_path, 2)
    gang.write_job(gang.program("def main(ctx): pass"))
    gang.directory.run(1).mark_success()
    child = start(children, gang, 1, attempt=1)
    child.read_until("bye")
    assert child.exit_code() == 0


def test_a_missing_rank_is_named_at_the_deadline(tmp_path, children):
    gang = LocalGang(tmp_path, 2)
    gang.write_job(
        gang.program("def main(ctx): ctx.comm.barrier()"), deadlines=Deadlines(allocate_s=1.0)
    )
    child = start(children, gang)
    error = json.loads(child.read_until("error ").removeprefix("error "))
    assert error["kind"] == "RendezvousTimeout"
    assert "rank 1 of 2 did not join within 1 s (HARPY_ALLOCATE_S)" in error["message"]
    assert child.exit_code() == 1


def test_a_rank_without_a_hub_says_so_at_the_deadline(tmp_path, children):
    gang = LocalGang(tmp_path, 2)
    gang.write_job(deadlines=Deadlines(allocate_s=0.5))
    child = start(children, gang, 1)
    error = json.loads(child.read_until("error ").removeprefix("error "))
    assert error["kind"] == "RendezvousTimeout"
    assert "rank 0 has not published its address" in error["message"]


def test_a_worker_looks_again_when_a_published_address_is_dead(tmp_path, children):
    gang = LocalGang(tmp_path, 2)
    gang.write_job(gang.program("def main(ctx): ctx.comm.barrier()"))
    with socket.create_server(("127.0.0.1", 0)) as dead:
        port = dead.getsockname()[1]
    gang.directory.publish_rank0(0, "127.0.0.1", port)
    second = start(children, gang, 1)
    second.read_until("status joining")
    first = start(children, gang, 0, attempt=1)
    assert (first.exit_code(), second.exit_code()) == (0, 0)


def test_a_worker_that_cannot_reach_a_rank_0_that_waits_leaves_its_place(tmp_path, children):
    deadlines = replace(DEADLINES, rendezvous_s=0.5, handshake_s=0.3)
    gang = LocalGang(tmp_path, 2, deadlines=deadlines)
    gang.write_job(gang.program("def main(ctx): ctx.comm.barrier()"))
    with unanswered_address() as address:
        gang.directory.publish_rank0(0, *address)
        second = start(children, gang, 1)
        deadline = time.monotonic() + SOON_S
        while second.process.poll() is None and time.monotonic() < deadline:
            gang.directory.publish_waiting()
            time.sleep(0.1)
        assert second.exit_code() == 77
    error = json.loads(second.read_until("error ").removeprefix("error "))
    assert (error["kind"], error["rank"], error["echo"]) == ("PeerUnreachable", 1, False)


def test_rank_0_says_that_it_waits_for_those_who_cannot_reach_it(tmp_path, children):
    gang = LocalGang(tmp_path, 2, deadlines=replace(DEADLINES, rendezvous_s=0.5))
    gang.write_job(gang.program("def main(ctx): ctx.comm.barrier()"))
    start(children, gang, 0).read_until("status joined")
    deadline = time.monotonic() + SOON_S
    while gang.directory.waited_at() is None:
        assert time.monotonic() < deadline, "it never did"
        time.sleep(0.1)


def test_strangers_silence_and_garbage_block_nobody(tmp_path):
    with local_gang(tmp_path, 3) as gang:
        gang.submit()
        gang.connect()
        (hub,) = gang.directory.rank0_addresses()
        strangers = [connect_socket(hub.address, hub.port) for _ in range(40)]
        try:
            for number, sock in enumerate(strangers):
                if number % 4:
                    sock.sendall([b"GET / HTTP/1.0\r\n\r\n", b"\0" * 500, b"H"][number % 4 - 1])
            forged = Initiator(b"x" * 32, "job-1", Identity(Role.DRIVER), Identity(Role.HUB))
            with connect_socket(hub.address, hub.port) as sock:
                sock.sendall(forged.hello + b"\0" * 5000)
                sock.settimeout(SOON_S)
                with contextlib.suppress(ConnectionResetError):
                    while sock.recv(4096):
                        pass  # the hub hangs up on it
            done = gang.outcome("def main(ctx): return int(ctx.comm.allreduce([1])[0])")
            assert isinstance(done, RunDone)
            assert done.read_results(gang.directory.run(1))[0] == 3
            gang.close_session()
            assert gang.failures() == {}
        finally:
            for sock in strangers:
                sock.close()


def test_a_driver_with_another_secret_is_told_so(tmp_path):
    with local_gang(tmp_path, 1) as gang:
        gang.submit()
        gang.connect()
        (hub,) = gang.directory.rank0_addresses()
        with pytest.raises(AuthenticationError, match="does not know the secret"):
            ControlChannel.connect(hub.address, hub.port, b"x" * 32, "job-1", gang.deadlines)
        gang.close_session()


def test_a_silent_stranger_is_dropped_at_the_handshake_deadline(tmp_path):
    with local_gang(tmp_path, 1, deadlines=replace(DEADLINES, handshake_s=1)) as gang:
        gang.submit()
        gang.connect()
        (hub,) = gang.directory.rank0_addresses()
        with connect_socket(hub.address, hub.port) as sock:
            sock.sendall(b"H" * (HELLO.size - 1))
            sock.settimeout(SOON_S)
            assert sock.recv(1) == b""
        gang.close_session()


def test_an_insider_that_talks_nonsense_is_dropped_and_the_session_lives(tmp_path):
    with local_gang(tmp_path, 1) as gang:
        gang.submit()
        gang.connect()
        (hub,) = gang.directory.rank0_addresses()
        me, other = Identity(Role.WORKER, 7, 0), Identity(Role.HUB)
        for message in ({"type": "report"}, {"type": "join"}, {}, {"type": "run", "spec": 5}):
            initiator = Initiator(gang.secret, "job-1", me, other)
            channel = Channel.connect(hub.address, hub.port, initiator, 5, 5)
            channel.send(message)
            with pytest.raises(ConnectionError):
                channel.receive(SOON_S)
            channel.close()
        assert isinstance(gang.outcome("def main(ctx): pass"), RunDone)
        gang.close_session()


def test_the_job_directory_keeps_no_secret(tmp_path):
    with local_gang(tmp_path, 2) as gang:
        gang.submit(gang.program("def main(ctx): ctx.comm.barrier()"))
        assert gang.failures() == {}
        files = [path for path in Path(gang.path).rglob("*") if path.is_file()]
        assert files
        for path in files:
            content = path.read_bytes()
            assert gang.secret not in content
            assert gang.secret.hex().encode() not in content
