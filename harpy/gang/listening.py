"""Listening sockets on a numeric address, from a port range where a firewall asks for one."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator

from harpy.errors import ConfigError, GangError

MAX_AT_ONCE = 32  # connections accepted before existing ones are served again
# There is no descriptor or memory for another connection, which stays in the kernel's queue.
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Exhausted(Exception):
    """The process or the machine cannot hold another connection."""


def listen(bind: str, port_range: tuple[int, int], backlog: int) -> socket.socket:
    """A listening socket on `bind`, on the first free port of the range; (0, 0) is any.

    Raises
    ------
    ConfigError
        `bind` is no address of this machine.
    GangError
        Every port of the range is in use.
    """
    first, last = port_range
    family = socket.AF_INET6 if ":" in bind else socket.AF_INET
    for port in range(first, last + 1):
        sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            # The last job may have left a port of the range in TIME_WAIT.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((bind, port))
            sock.listen(backlog)
        except OSError as exc:
            sock.close()
            if exc.errno == errno.EADDRINUSE and last > first:
                continue
            if exc.errno == errno.EADDRINUSE:
                break
            raise ConfigError(f"cannot listen on {bind} port {port}: {exc.strerror}") from exc
        return sock
    raise GangError(
        f"no free port on {bind} in {first} to {last}: other programs hold them all; widen the "
        "port range (harpy.port-range)"
    )


def waiting(listener: socket.socket) -> Iterator[socket.socket]:
    """Take connections that wait at a non-blocking `listener`, MAX_AT_ONCE at most; non-blocking
    themselves, else as they are: every system call for one that never authenticates is too many.

    Raises
    ------
    Exhausted
        There is no descriptor for the next one.
    """
    for _ in range(MAX_AT_ONCE):
        try:
            sock, _ = listener.accept()
        except BlockingIOError:
            return
        except OSError as exc:
            if exc.errno in _EXHAUSTED:
                raise Exhausted(exc.strerror) from exc
            continue  # it was closed before it was accepted
        sock.setblocking(False)
        yield sock
