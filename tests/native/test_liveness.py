"""Heartbeats of a native thread: who is silent, who is only busy, who is to end."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from harpy.kernels.liveness import Pulse

pytestmark = pytest.mark.timeout(60)
SOON_S = 20.0
BEAT_S = 0.05
DONE_BY_ECHO = 75
BEATS_ON = f"""
import ctypes, os, sys
from harpy.kernels.liveness import Pulse
pulse = Pulse({BEAT_S})
pulse.add(int(sys.argv[1]))
print("ready", flush=True)
"""


def eventually(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SOON_S
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


class Other:
    """A process that beats, and a pulse here that listens to it."""

    def __init__(self, body: str) -> None:
        mine, theirs = socket.socketpair()
        theirs.set_inheritable(True)
        self.process = subprocess.Popen(
            [sys.executable, "-c", BEATS_ON + body, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdout=subprocess.PIPE,
            process_group=0,
        )
        theirs.close()
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"ready\n"
        self.pulse = Pulse(BEAT_S)
        self.number = self.pulse.add(mine.detach())

    def silent_s(self) -> float:
        return self.pulse.silent_for(self.number)

    def end(self) -> int:
        self.process.kill()
        return self.process.wait(SOON_S)


def test_a_process_that_holds_its_interpreter_beats_and_a_stopped_one_is_silent():
    other = Other("ctypes.PyDLL(None).sleep(60)")
    quietest = 0.0
    for _ in range(20):
        time.sleep(BEAT_S)
        quietest = max(quietest, other.silent_s())
    assert quietest < 1.0
    os.kill(other.process.pid, signal.SIGSTOP)
    eventually(lambda: other.silent_s() > 1.5)
    os.kill(other.process.pid, signal.SIGCONT)
    eventually(lambda: other.silent_s() < 0.5)
    other.end()


def test_a_process_that_is_gone_is_silent():
    other = Other("sys.stdin.read()")
    other.end()
    eventually(lambda: other.silent_s() > 0.5)


def test_a_process_ends_when_it_is_told_whatever_it_does():
    other = Other("ctypes.PyDLL(None).sleep(60)")
    other.pulse.end_peer(other.number)
    assert other.process.wait(SOON_S) in (DONE_BY_ECHO, -signal.SIGKILL)


@pytest.mark.parametrize(("number", "said"), [(signal.SIGTERM, True), (signal.SIGKILL, False)])
def test_a_process_that_is_terminated_says_farewell_even_from_native_code(number, said):
    other = Other(
        'pulse.report_termination(); print("set", flush=True); ctypes.PyDLL(None).sleep(60)'
    )
    assert other.process.stdout.readline() == b"set\n"
    assert not other.pulse.was_terminated(other.number)
    os.kill(other.process.pid, number)
    assert other.process.wait(SOON_S) == -number
    assert other.pulse.was_terminated(other.number) is said


def test_a_farewell_is_heard_though_its_sender_is_gone_before_the_next_beat():
    pulse = Pulse(1e-4)
    for _ in range(50):
        mine, theirs = socket.socketpair()
        theirs.send(b"t")
        theirs.close()
        number = pulse.add(mine.detach())
        time.sleep(0.005)
        assert pulse.was_terminated(number)
        pulse.remove(number)


def test_one_that_was_removed_or_never_there_is_not_silent():
    pulse = Pulse(BEAT_S)
    mine, theirs = socket.socketpair()
    number = pulse.add(mine.detach())
    eventually(lambda: theirs.recv(1) == b"b")
    pulse.remove(number)
    assert pulse.silent_for(number) == pulse.silent_for(99) == 0.0
    pulse.end_peer(number)
    pulse.remove(number)
    theirs.settimeout(SOON_S)
    while theirs.recv(64):  # until its end
        pass


def test_a_launcher_hears_lines_and_its_end_is_ours():
    code = (
        "import os, sys\nfrom harpy.kernels.liveness import Pulse\n"
        f"pulse = Pulse({BEAT_S}); pulse.attach_launcher(0, 1)\n"
        "import ctypes; ctypes.PyDLL(None).sleep(60)"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdin is not None and child.stdout is not None
    assert [child.stdout.readline() for _ in range(3)] == [b"heartbeat\n"] * 3
    child.stdin.close()
    assert child.wait(SOON_S) == DONE_BY_ECHO


def test_nothing_is_said_while_it_is_hushed():
    out, said = os.pipe()
    stdin, keeps_it_open = os.pipe()
    pulse = Pulse(BEAT_S)
    pulse.attach_launcher(stdin, said)
    eventually(lambda: os.read(out, 10) == b"heartbeat\n")
    pulse.pause_lines(True)
    while select.select([out], [], [], 10 * BEAT_S)[0]:
        os.read(out, 4096)  # what was on its way
    pulse.pause_lines(False)
    assert os.read(out, 10) == b"heartbeat\n"
    del pulse
    for fd in (out, said, stdin, keeps_it_open):
        os.close(fd)


def test_a_forked_child_ends_without_the_thread():
    pulse = Pulse(BEAT_S)
    pid = os.fork()
    if pid == 0:
        del pulse
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0


def test_an_interval_must_be_positive():
    with pytest.raises(ValueError, match="interval_s must be positive, got 0"):
        Pulse(0)
