"""What takes bytes from others: each target eats any bytes and raises nothing but its own errors.

Shared by the seeded runs of every test run (test_seeded.py) and by atheris (under_atheris.py).
"""

from __future__ import annotations

import contextlib
import hmac
import json
from collections.abc import Callable

from harpy.errors import AuthenticationError, PeerLost, ProtocolError
from harpy.gang.messages import event_of, read_message
from harpy.session.control import ControlChannel
from harpy.wire import to_driver, to_worker
from harpy.wire.auth import Acceptor, Identity, Initiator, Role
from harpy.wire.failure import MAX_LINE, Failure
from harpy.wire.frames import PREFIX, FrameReader, FrameWriter
from harpy.wire.hello import Hello
from harpy.wire.job_spec import JobSpec

SECRET, KEY = b"s" * 32, b"k" * 32
HUB, WORKER, PEER = Identity(Role.HUB), Identity(Role.WORKER, 1), Identity(Role.PEER, 1, 0, 1)
SENDERS = (WORKER, Identity(Role.WORKER), Identity(Role.DRIVER), PEER)


def signed(header: bytes, body: bytes = b"", counter: int = 0) -> bytes:
    """A frame of any content with a right HMAC: what an insider can send."""
    data = PREFIX.pack(len(header), len(body), counter) + header + body
    return data + hmac.digest(KEY, data, "sha256")


def frame_stream(data: bytes) -> None:
    """Bytes in pieces, as they come from a socket."""
    reader = FrameReader(KEY)
    step = 1 + data[0] if data else 1
    try:
        for start in range(0, len(data), step):
            reader.feed(data[start : start + step])
    except ProtocolError:
        pass


def insider(data: bytes) -> None:
    """A well-signed frame of any content, as the hub takes it from each kind of sender; whatever
    comes out can be sent on."""
    n_body = data[0] if data else 0
    header, body = data[1 : len(data) - n_body], data[len(data) - n_body :][: len(data) - 1]
    try:
        messages = FrameReader(KEY).feed(signed(header, body))
    except ProtocolError:
        return
    for message in messages:
        FrameWriter(KEY).encode(message)
        for sender in SENDERS:
            try:
                known = read_message(message, sender)
                FrameWriter(KEY).encode(known.to_wire())
                event_of(known, sender)
            except ProtocolError:
                continue


def driver(data: bytes) -> None:
    """A well-signed frame of any content, as the driver takes it from the hub."""
    try:
        for message in FrameReader(KEY).feed(signed(data)):
            ControlChannel(None)._event(to_driver.read(message))  # type: ignore[arg-type]
    except ProtocolError:
        pass


def worker(data: bytes) -> None:
    """A well-signed frame of any content, as a worker takes it from the hub."""
    try:
        messages = FrameReader(KEY).feed(signed(data))
    except ProtocolError:
        return
    for message in messages:
        for read in (to_worker.read, to_worker.read_answer):
            try:
                FrameWriter(KEY).encode(read(message).to_wire())
            except ProtocolError:
                continue


def launcher_line(data: bytes) -> None:
    """A line between launcher and worker, either way; job.json."""
    with contextlib.suppress(ProtocolError):
        Hello.from_line(data)
    line = data.decode("utf-8", "replace")
    said = Failure.from_line(line, Failure("WorkerLost", "", 1, "n"))
    assert said.rank == 1
    assert len(said.to_line()) <= MAX_LINE
    with contextlib.suppress(ValueError, RecursionError, ProtocolError):
        JobSpec.from_wire(json.loads(data))


def acceptor(data: bytes) -> None:
    """The handshake's side that was called, at the hub's door and at a rank's."""
    for me in (HUB, Identity(Role.PEER, 0, 0, 1)):
        called = Acceptor(SECRET, "job", me)
        try:
            while not called.done and len(data) >= called.needed:
                message, data = data[: called.needed], data[called.needed :]
                called.receive(message)
        except AuthenticationError:
            continue
        assert not called.done, "somebody got in without the secret"


def initiator(data: bytes) -> None:
    """The handshake's side that calls."""
    for expected in (HUB, Identity(Role.PEER, 0, 0, 1)):
        caller = Initiator(SECRET, "job", WORKER, expected, any_attempt=bool(data[:1] > b"\x80"))
        try:
            caller.receive(data[: caller.needed])
        except (AuthenticationError, PeerLost):
            continue
        raise AssertionError("somebody without the secret was believed")


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target
    for target in (
        frame_stream,
        insider,
        driver,
        worker,
        launcher_line,
        acceptor,
        initiator,
    )
}
