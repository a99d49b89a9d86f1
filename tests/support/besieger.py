"""Malformed connections to a gang's listeners: so many a second, of every kind in turn.

Used by hostile_connections.py and by tests. As a program (`python besieger.py RATE HOST:PORT …`)
it begins and ends a siege with every line on stdin and answers `begun` or `ended COUNT CPU_S`;
after the line `drill` it besieges a door of its own instead, which costs as much and hurts nobody.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import sys
import time
from collections import deque
from collections.abc import Sequence

Address = tuple[str, int]
MOST_HELD = 400  # connections kept open at once, of those that say too little to be sent away
# What they say: nothing, part of a hello, a whole one without the secret, other protocols, much.
HELLO = b"HARPY\x00\x00\x01\x02" + bytes(87)
SAYINGS = (
    b"",
    b"H",
    HELLO[:50],
    HELLO,
    HELLO + bytes(32),
    HELLO[:7] + b"\x09" + HELLO[8:],
    b"GET / HTTP/1.1\r\nHost: hub\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\xaa" * 200,
    b"\xff" * 4096,
    None,  # leaves at once
)


class Besieger:
    """Connects, says something, and stays as long as it is suffered."""

    def __init__(self, addresses: Sequence[Address]) -> None:
        self._addresses = addresses
        self._held: deque[socket.socket] = deque()
        self.n_connections = 0

    def connect(self) -> None:
        """One more connection; never waits."""
        n = self.n_connections
        self.n_connections += 1
        saying = SAYINGS[n % len(SAYINGS)]
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        with contextlib.suppress(OSError):  # on loopback it is connected at once, or never
            sock.connect_ex(self._addresses[n // len(SAYINGS) % len(self._addresses)])
            if saying:
                sock.send(saying)
        if saying is None:
            sock.close()
            return
        self._held.append(sock)
        if len(self._held) > MOST_HELD:
            self._held.popleft().close()

    def leave(self) -> None:
        while self._held:
            self._held.popleft().close()


class Drill(Besieger):
    """The same at a door of its own, where everybody is sent away unheard."""

    def __init__(self) -> None:
        self._door = socket.create_server(("127.0.0.1", 0))
        super().__init__([self._door.getsockname()])

    def connect(self) -> None:
        super().connect()
        self._door.accept()[0].close()


def main() -> None:
    rate = float(sys.argv[1])
    pairs = (text.rpartition(":") for text in sys.argv[2:])
    siege, drill = Besieger([(host, int(port)) for host, _, port in pairs]), Drill()
    besieger = siege
    orders = selectors.DefaultSelector()
    orders.register(sys.stdin, selectors.EVENT_READ)
    besieging, due = False, 0.0
    while True:
        wait = max(0.0, due - time.monotonic()) if besieging else None
        if orders.select(wait):
            line = sys.stdin.readline()
            if not line:
                return
            besieging = not besieging
            due, cpu = time.monotonic(), time.process_time()
            if besieging:
                besieger = drill if line.strip() == "drill" else siege
                besieger.n_connections, begun_cpu = 0, cpu
                print("begun", flush=True)
            else:
                besieger.leave()
                print("ended", besieger.n_connections, cpu - begun_cpu, flush=True)
        elif besieging:
            besieger.connect()
            due += 1 / rate


if __name__ == "__main__":
    main()
