"""Chooses the cluster's ports: Hadoop's defaults where they are free, other free ones else."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterable
from contextlib import ExitStack

from harpy.errors import ClusterError, ConfigError

# Hadoop's own default numbers; the node managers' (nm0.*, nm1.*, …) come from NODE_PORTS.
MASTER_PORTS = {
    "namenode.rpc": 8020,
    "namenode.http": 9870,
    "datanode.data": 9866,
    "datanode.http": 9864,
    "datanode.ipc": 9867,
    "resourcemanager.client": 8032,
    "resourcemanager.scheduler": 8030,
    "resourcemanager.tracker": 8031,
    "resourcemanager.admin": 8033,
    "resourcemanager.http": 8088,
    "historyserver.rpc": 10020,
    "historyserver.admin": 10033,
    "historyserver.http": 19888,
}
NODE_PORTS = {"rpc": 8041, "localizer": 8040, "http": 8042, "shuffle": 13562}

# Below the range from which the kernel gives ports to outgoing connections (32768 and up), so that
# no such connection can take one between its choice and the daemon's start.
FREE_RANGE = (20000, 32767)


def port_names(nodes: int) -> dict[str, int]:
    """Return every port of a cluster with its default; 0 where several nodes cannot share one."""
    names = dict(MASTER_PORTS)
    for node in range(nodes):
        for name, default in NODE_PORTS.items():
            names[f"nm{node}.{name}"] = default if node == 0 else 0
    return names


def choose_ports(wanted: dict[str, int], bind: str) -> dict[str, int]:
    """Return a free port of address `bind` for each name: the wanted number, or another.

    A wanted number of 0 means any.
    """
    with ExitStack() as held:
        chosen = {}
        for name, default in wanted.items():
            numbers = [default] if default else []
            chosen[name] = _hold_first_free(held, bind, [*numbers, *_candidates()])
        return chosen


def _candidates() -> Iterable[int]:
    return random.sample(range(*FREE_RANGE), 200)


def _hold_first_free(held: ExitStack, bind: str, numbers: Iterable[int]) -> int:
    for number in numbers:
        probe = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        # As Hadoop's servers do: a port whose last connections are in TIME_WAIT is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((bind, number))
            # A bound socket that does not listen can share its port under SO_REUSEADDR.
            probe.listen(1)
        except OSError as exc:
            probe.close()
            if isinstance(exc, socket.gaierror) or exc.errno == 99:  # EADDRNOTAVAIL
                raise ConfigError(
                    f"--bind {bind} is not an IPv4 address of this machine: {exc}"
                ) from exc
            continue
        held.enter_context(probe)
        return number
    raise ClusterError(f"no free port on {bind}: tried Hadoop's default and 200 others")
